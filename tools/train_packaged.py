"""Train the packaged codecs: `python -m tools.train_packaged <name>`. Takes hours; the results are in the repository.

The training speech is synthetic: random English words, spoken by espeak-ng in many voices, accents, rates and pitches,
and by the neural voice. The default corpus contains none of it. One utterance in four is band-limited to 4 kHz, like
much recorded speech. `speechtokenizer` and `speechtokenizer_undistilled` share their warm-up.
"""

from __future__ import annotations

import importlib.resources
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from phonoscope import paths
from phonoscope.audio import resample
from phonoscope.compute import parallel_map, setup_torch
from phonoscope.config.codecs import TrainingConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.params import load_params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.codecs.clips import Clips
    from phonoscope.codecs.train import CodecTrainer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
RECIPE = TrainingConfig(log_every=250)
SEED = 2026
ESPEAK_UTTERANCES, NEURAL_UTTERANCES = 900, 160
ACCENTS = ("en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-scotland", "en-029")
VARIANTS = ("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "yes", "no")
CHECKPOINT_EVERY = 500
WHISPER_HZ = 16_000
HELD_OUT, HELD_OUT_SENTENCES = Path("corpora/espeak"), 26
Name = Literal["encodec", "dac", "speechtokenizer", "speechtokenizer_undistilled"]


def random_text(rng: np.random.Generator, words: list[str]) -> str:
    """Three to eight random words; one text in five consists of digits, yes and no."""
    pool: Any = DIGITS if rng.random() < 0.2 else words
    return " ".join(rng.choice(pool, size=rng.integers(3, 9)))


def dictionary_words() -> list[str]:
    """Words of two to nine ASCII letters in the pronouncing dictionary that pocketsphinx ships."""
    dictionary = importlib.resources.files("pocketsphinx") / "model" / "en-us" / "cmudict-en-us.dict"
    words = {line.split(" ", 1)[0] for line in dictionary.read_text(encoding="utf-8").splitlines()}
    return sorted(word for word in words if word.isascii() and word.isalpha() and 2 <= len(word) <= 9)


def training_speech(workers: int) -> list[NDArray[np.float32]]:
    """The training utterances at 22.05 kHz, each [samples]."""
    from phonoscope.corpus.espeak import SAMPLE_RATE_HZ as NATIVE_HZ
    from phonoscope.corpus.espeak import EspeakSpeech
    from phonoscope.corpus.piper import synthesize

    rng, words = np.random.default_rng(SEED), dictionary_words()
    requests = [
        EspeakSpeech(
            text=random_text(rng, words),
            voice=f"{rng.choice(ACCENTS)}+{rng.choice(VARIANTS)}",
            rate_wpm=int(rng.integers(120, 230)),
            pitch=int(rng.integers(15, 85)),
        )
        for _ in range(ESPEAK_UTTERANCES)
    ]
    spoken = parallel_map(EspeakSpeech.load, requests, workers=workers, description="espeak")
    speech = [each.samples for each in spoken]
    for _ in range(NEURAL_UTTERANCES):
        samples, rate = synthesize(random_text(rng, words), rate_wpm=int(rng.integers(130, 210)))
        speech.append(resample(samples, rate, NATIVE_HZ))
    narrow = rng.random(len(speech)) < 0.25
    return [
        resample(resample(samples, NATIVE_HZ, 8_000), 8_000, NATIVE_HZ) if cut else samples
        for samples, cut in zip(speech, narrow, strict=True)
    ]


def train_packaged(name: Name, compute: ComputeConfig, destination: Path, recipe: TrainingConfig = RECIPE) -> None:
    """Train one packaged model and write it into `destination`; resume from `.phonoscope/packaged`."""
    from phonoscope.codecs.checkpoints import load_codec, random_codec, save_codec
    from phonoscope.codecs.clips import Clips, teacher_features
    from phonoscope.codecs.start import scale_encoder
    from phonoscope.codecs.train import CodecTrainer
    from phonoscope.corpus.espeak import SAMPLE_RATE_HZ as NATIVE_HZ
    from phonoscope.files import atomic_dir, write_csv, write_json
    from phonoscope.whisper.model import encoder_features, load_whisper

    kind, distill = name.removesuffix("_undistilled"), name == "speechtokenizer"
    device = setup_torch(compute, recipe.seed)
    speech = training_speech(compute.workers)
    model = random_codec(kind)
    model.model.to(device)
    waveforms = [resample(samples, NATIVE_HZ, model.sample_rate) for samples in speech]
    clips = Clips.of(model, waveforms, recipe)
    trainer = CodecTrainer(model, recipe, distill=distill)
    scale_encoder(model, clips)
    _fit(trainer, clips, recipe, paths.STATE / "packaged" / f"{kind}-warm-up.pt", quantized=False)
    if distill:
        features = partial(encoder_features, load_whisper(), layer=recipe.teacher_layer)
        clips.teacher = teacher_features(features, waveforms)
    _fit(trainer, clips, recipe, paths.STATE / "packaged" / f"{name}.pt", quantized=True)
    with atomic_dir(destination / name) as folder:
        save_codec(trainer.codec, kind, folder, half=True)
        write_csv(folder / "curve.csv", trainer.curve_frame(), significant_digits=5)
        write_json(folder / "recipe.json", recipe.model_dump())
        write_json(folder / "quality.json", quality(load_codec(folder)))


def _fit(trainer: CodecTrainer, clips: Clips, recipe: TrainingConfig, checkpoint: Path, *, quantized: bool) -> None:
    """Run one phase and save a checkpoint every `CHECKPOINT_EVERY` steps."""
    if checkpoint.exists():
        trainer.load(checkpoint)
    first, steps = (recipe.warmup_steps, recipe.quantizer_steps) if quantized else (0, recipe.warmup_steps)
    if quantized and trainer.step == first:
        trainer.start_quantizer(clips)
    while trainer.step < first + steps:
        stop = min(trainer.step + CHECKPOINT_EVERY, first + steps)
        trainer.run(clips, first, steps, recipe.lr, quantized=quantized, until=stop)
        trainer.save(checkpoint)


def quality(codec: Any) -> dict[str, Any]:
    """Quality of a packaged model on held-out speech: sentences of the default corpus by espeak and the neural voice.

    Perplexity and used codes per layer; SI-SDR, mel distance and STOI by number of layers; Whisper's word error rate on
    the originals and on the reconstructions from all layers, for each kind of voice.
    """
    import torch

    from phonoscope.codecs.base import encode_batch
    from phonoscope.codecs.corpus import usage_table
    from phonoscope.codecs.quality import clip_quality, quality_table
    from phonoscope.whisper import load_whisper, transcribe, word_error_rate

    whisper, results = load_whisper(), {}
    speech = {voice: held_out_speech(voice, codec.sample_rate) for voice in ("espeak", "neural")}
    counts = np.zeros((codec.n_layers, codec.codebook_size), dtype=np.int64)
    for voice, (texts, clips) in speech.items():
        decoded = []
        for samples in clips:
            with torch.inference_mode():
                codes = encode_batch(codec, torch.from_numpy(samples)[None]).codes
                decoded.append(codec.decode(codes)[0, 0].numpy())
            for layer in range(codec.n_layers):
                counts[layer] += np.bincount(codes[0, layer].numpy(), minlength=codec.codebook_size)
        for kind, audio in (("original", clips), ("decoded", decoded)):
            heard = transcribe(whisper, [resample(samples, codec.sample_rate, WHISPER_HZ) for samples in audio])
            results[f"wer_{voice}_{kind}"] = word_error_rate(texts, heard)
    clips = [samples for _, group in speech.values() for samples in group]
    table = [usage_table(list(counts)), quality_table([clip_quality(codec, samples) for samples in clips])]
    for row in (record for frame in table for record in frame.to_dict("records")):
        results[f"{row['metric']}_layer_{row['layer']}"] = row["value"]
    return results


def held_out_speech(voice: str, sample_rate_hz: int) -> tuple[list[str], list[NDArray[np.float32]]]:
    """Texts and audio of the default corpus's first sentences, by espeak's speakers in turn or the neural voice."""
    import pandas as pd

    from phonoscope.corpus.espeak import SAMPLE_RATE_HZ as NATIVE_HZ
    from phonoscope.corpus.espeak import synthesize as espeak
    from phonoscope.corpus.piper import synthesize as neural

    texts = (HELD_OUT / "sentences.txt").read_text(encoding="utf-8").splitlines()[:HELD_OUT_SENTENCES]
    if voice == "neural":
        spoken = [neural(text) for text in texts]
    else:
        speakers = pd.read_csv(HELD_OUT / "speakers.csv").to_dict("records")
        turns = [speakers[index % len(speakers)] for index in range(len(texts))]
        settings = [{"rate_wpm": int(turn["rate"]), "pitch": int(turn["pitch"])} for turn in turns]
        voices = zip(texts, turns, settings, strict=True)
        spoken = [(espeak(text, turn["voice"], **setting).samples, NATIVE_HZ) for text, turn, setting in voices]
    return texts, [resample(samples, rate, sample_rate_hz) for samples, rate in spoken]


@app.command()
def main(
    name: Name,
    destination: Annotated[Path, typer.Option(help="Folder for the packaged models.")] = paths.STATE
    / "packaged-models",
    params: Annotated[Path, typer.Option(help="Parameter file; its section compute counts.")] = paths.PARAMS,
) -> None:
    """Train a packaged model again, from synthetic speech. Takes hours; resumes where it stopped."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train_packaged(name, load_params(params).compute, destination)


if __name__ == "__main__":
    app()
