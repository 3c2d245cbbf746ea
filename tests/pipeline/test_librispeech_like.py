from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phonoscope.alignment.textgrid import find_textgrids, read_textgrid
from phonoscope.audio import read_audio, write_flac
from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import RawItem
from phonoscope.corpus.sources import librispeech
from phonoscope.data.labels import Alignment, Interval
from tests.pipeline.librispeech_like import DIGITS, RATE_HZ, SUBSET, make_corpus

WORDS = {"zero": ("Z", "IH1"), "one": ("W", "AH1")}


def even(samples: NDArray[np.float32], text: str) -> Alignment:
    """Two phones a word, all of one length."""
    edges = np.linspace(0, len(samples) / RATE_HZ, 2 * DIGITS + 1).tolist()
    phones = [phone for word in text.split() for phone in WORDS[word]]
    intervals = [Interval(*edge, phone) for *edge, phone in zip(edges[:-1], edges[1:], phones, strict=True)]
    words = [Interval(*edge, word) for *edge, word in zip(edges[:-1:2], edges[2::2], text.split(), strict=True)]
    return Alignment(words, intervals)


def test_the_folder_is_read_as_librispeech_with_a_textgrid_for_each_utterance(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "fsdd").mkdir()
    for speaker in ("jackson", "theo"):
        for clip in range(12):
            samples = rng.normal(0, 0.1, 1600).astype(np.float32)
            write_flac(tmp_path / "fsdd" / f"{clip % 2}_{speaker}_{clip}.wav", samples, 8_000)
    make_corpus(tmp_path / "fsdd", tmp_path / "made", utterances=20, align=even)
    config = CorpusConfig(source="librispeech", subset=SUBSET)
    items = list(librispeech.read(tmp_path / "made", config))
    assert len(items) == 2 * (12 // DIGITS)
    grids = find_textgrids(tmp_path / "made" / "alignments")
    for item in items:
        assert isinstance(item, RawItem)
        assert (item.speaker, item.sex) in {("1", "M"), ("2", "M")}
        samples, rate = read_audio(item.audio.path)  # type: ignore[union-attr]
        assert (rate, len(samples)) == (RATE_HZ, DIGITS * 3200)
        found = read_textgrid(grids[item.utterance], stress="keep")
        assert [word.label.upper() for word in found.words] == item.text.split()
        assert len(found.phones) == 2 * DIGITS
