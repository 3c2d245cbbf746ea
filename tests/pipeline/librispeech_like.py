"""A folder in LibriSpeech's layout, with TextGrids and weights in the official formats, made from FSDD's recordings.

python -m tests.pipeline.librispeech_like <FSDD> <destination>

It stands in for what docs/reproduce-librispeech.md needs where none of it can be downloaded. The weights are random, of
the official sizes: results on it say that the line runs, and how long, nothing about any codec.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from phonoscope.alignment.forced import force_align
from phonoscope.alignment.textgrid import write_textgrid
from phonoscope.audio import read_audio, resample, write_flac
from phonoscope.codecs.checkpoints import random_codec
from phonoscope.codecs.registry import codec_kind
from phonoscope.codecs.start import initialise_from_data
from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import AudioFile, RawItem
from phonoscope.corpus.sources import fsdd
from phonoscope.data.labels import Alignment

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
SUBSET = "train-clean-100"
DIGITS = 5
CLIPS, CLIP_S = 40, 0.5
Aligner = Callable[["NDArray[np.float32]", str], Alignment]


def make_corpus(source: Path, root: Path, *, utterances: int = 4, align: Aligner = force_align) -> None:
    """Write LibriSpeech/ and alignments/: of each speaker, `utterances` utterances of five random digits."""
    items = [item for item in fsdd.read(source, CorpusConfig(source="fsdd")) if isinstance(item, RawItem)]
    lines = [";ID |SEX| SUBSET | MINUTES | NAME"]
    for number, name in enumerate(sorted({item.speaker for item in items}), start=1):
        theirs = [item for item in items if item.speaker == name]
        lines.append(f"{number} | {theirs[0].sex} | {SUBSET} | 1.0 | {name}")
        shuffled = np.random.default_rng(0).permutation(len(theirs))
        groups = [[theirs[i] for i in five] for five in shuffled[: len(theirs) // DIGITS * DIGITS].reshape(-1, DIGITS)]
        _speaker(groups[:utterances], str(number), root, align)
    (root / "LibriSpeech" / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _speaker(groups: list[list[RawItem]], speaker: str, root: Path, align: Aligner) -> None:
    chapter = Path(SUBSET) / speaker / "1"
    texts = []
    for index, group in enumerate(groups):
        name, text = f"{speaker}-1-{index:04d}", " ".join(item.text for item in group)
        files = [item.audio.path for item in group if isinstance(item.audio, AudioFile)]
        samples = np.concatenate([resample(*read_audio(file), RATE_HZ) for file in files])
        flac = root / "LibriSpeech" / chapter / f"{name}.flac"
        flac.parent.mkdir(parents=True, exist_ok=True)
        write_flac(flac, samples, RATE_HZ)
        grid = root / "alignments" / chapter / f"{name}.TextGrid"
        grid.parent.mkdir(parents=True, exist_ok=True)
        write_textgrid(grid, align(samples, text), len(samples) / RATE_HZ)
        texts.append(f"{name} {text.upper()}")
    transcript = root / "LibriSpeech" / chapter / f"{speaker}-1.trans.txt"
    transcript.write_text("\n".join(texts) + "\n", encoding="utf-8")


def make_weights(root: Path) -> None:
    """Write models/: the official EnCodec and SpeechTokenizer, with random weights and codebooks of latents."""
    folder = root / "models"
    folder.mkdir(exist_ok=True)
    flacs = sorted((root / "LibriSpeech").rglob("*.flac"))
    waveforms = np.concatenate([read_audio(path)[0] for path in flacs[:: max(1, len(flacs) // CLIPS)]])
    for kind, file in {"encodec": "encodec_24khz-random.th", "speechtokenizer": "SpeechTokenizer.pt"}.items():
        torch.manual_seed(0)
        codec = random_codec(kind, 8, dict(codec_kind(kind).official or {}))
        samples = resample(waveforms, RATE_HZ, codec.sample_rate)
        clips = len(samples) // round(CLIP_S * codec.sample_rate)
        audio = torch.from_numpy(samples[: clips * round(CLIP_S * codec.sample_rate)]).reshape(clips, 1, -1)[:CLIPS]
        initialise_from_data(codec.model.encoder, audio, 1.0)
        with torch.no_grad():
            residual = codec.latent(audio).transpose(1, 2).flatten(0, 1)
            for layer in codec.rvq_layers:
                rows = residual[torch.randint(len(residual), (codec.codebook_size,))]
                layer._codebook.embed.copy_(rows)
                residual = residual - rows[torch.cdist(residual, rows).argmin(dim=1)]
        torch.save(codec.model.state_dict(), folder / file)
        if kind == "speechtokenizer":
            (folder / "config.json").write_text(json.dumps(codec.architecture()), encoding="utf-8")


if __name__ == "__main__":
    make_corpus(Path(sys.argv[1]), Path(sys.argv[2]))
    make_weights(Path(sys.argv[2]))
