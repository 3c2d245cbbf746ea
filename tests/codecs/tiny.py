"""Codecs of the official classes, small enough for a test, with codebooks that fit their random encoders."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from phonoscope.codecs.base import encode_batch
from phonoscope.codecs.checkpoints import load_official, random_codec
from phonoscope.codecs.hub import TransformersDac, TransformersMimi
from phonoscope.codecs.rvq import kmeans
from phonoscope.codecs.start import initialise_from_data, start_codebooks
from phonoscope.errors import DataError

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "encodec": {
        "sample_rate": 24_000, "n_filters": 2, "dimension": 16, "ratios": [8, 5, 4, 2], "lstm": 1,
        "n_q": 3, "bins": 32, "true_skip": True,
    },
    "dac": {
        "sample_rate": 16_000, "encoder_dim": 2, "encoder_rates": [4, 4, 4, 5], "latent_dim": 16,
        "decoder_dim": 16, "decoder_rates": [5, 4, 4, 4], "n_codebooks": 3, "codebook_size": 32, "codebook_dim": 8,
    },
    "speechtokenizer": {
        "sample_rate": 16_000, "n_filters": 2, "dimension": 16, "semantic_dimension": 12, "strides": [8, 5, 4, 2],
        "bidirectional": True, "dilation_base": 2, "residual_kernel_size": 3, "n_residual_layers": 1,
        "lstm_layers": 1, "activation": "ELU", "codebook_size": 32, "n_q": 3,
    },
}  # fmt: skip
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "transformers-encodec": {
        "model_type": "encodec", "num_filters": 2, "hidden_size": 16, "codebook_dim": 16, "codebook_size": 32,
        "num_lstm_layers": 1, "target_bandwidths": [1.5],
    },
    "transformers-dac": {
        "model_type": "dac", "encoder_hidden_size": 2, "downsampling_ratios": [4, 4, 4, 5], "n_codebooks": 3,
        "decoder_hidden_size": 16, "upsampling_ratios": [5, 4, 4, 4], "codebook_size": 32, "sampling_rate": 16_000,
    },
    "transformers-mimi": {
        "model_type": "mimi", "hidden_size": 16, "num_filters": 2, "upsampling_ratios": [4, 4, 5, 4],
        "codebook_size": 32, "codebook_dim": 8, "vector_quantization_hidden_dimension": 8, "num_quantizers": 3,
        "upsample_groups": 16, "num_hidden_layers": 1, "intermediate_size": 16, "num_attention_heads": 2,
        "num_key_value_heads": 2, "sliding_window": 10,
    },
    "transformers-xcodec": {
        "model_type": "xcodec", "codebook_size": 32, "target_bandwidths": [0.75],
        "acoustic_model_config": {
            "model_type": "dac", "encoder_hidden_size": 2, "decoder_hidden_size": 16, "hidden_size": 8,
        },
        "semantic_model_config": {
            "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
    },
}  # fmt: skip
EVERY = [*ARCHITECTURES, *TRANSFORMERS]


def voice(seconds: float, sample_rate: int = 16_000, seed: int = 0) -> NDArray[np.float32]:
    """Something like speech: a gliding harmonic tone, swelling four times a second, in a little noise. [samples]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.3 * t + seed)) / sample_rate
    tone = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 9))
    samples = 0.1 * tone * (1 + np.sin(2 * np.pi * 4 * t + seed)) + 0.01 * rng.standard_normal(len(t))
    return np.asarray(samples, dtype=np.float32)


def codes_of(codec: Any, samples: NDArray[np.float32]) -> torch.Tensor:
    """Codes [batch, layers, frames] of samples [time] or [batch, time]."""
    with torch.inference_mode():
        return encode_batch(codec, torch.from_numpy(np.atleast_2d(samples))).codes


def package_model(kind: str, settings: dict[str, Any]) -> Any:
    """A model of the codec's own package with random weights."""
    if kind == "encodec":
        from encodec import EncodecModel

        return EncodecModel.encodec_model_24khz(pretrained=False)
    if kind == "dac":
        from dac.model.dac import DAC

        return DAC(**settings)
    from speechtokenizer import SpeechTokenizer

    return SpeechTokenizer(settings)


def save_official(kind: str, model: Any, folder: Path, settings: dict[str, Any] | None = None) -> Path:
    """Write a checkpoint in the format of the codec's own package, or of transformers. Returns its path."""
    if kind.startswith("transformers"):
        model.save_pretrained(folder)
        return folder
    path = folder / {"encodec": "encodec_24khz-test.th", "dac": "weights.pth"}.get(kind, "SpeechTokenizer.pt")
    if kind == "dac":
        model.save(str(path), package=False)
        return path
    torch.save(model.state_dict(), path)
    (folder / "config.json").write_text(json.dumps(settings))
    return path


def refused(kind: str, path: Path | str, message: str) -> None:
    """Loading is refused in one line."""
    with pytest.raises(DataError, match=message) as caught:
        load_official(kind, path)
    assert "\n" not in str(caught.value)


def build(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A tiny codec with random weights."""
    torch.manual_seed(seed)
    architecture = {**ARCHITECTURES, **TRANSFORMERS}[kind] | changes
    return random_codec(kind.partition("-")[0], None, architecture)


def alive(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A tiny codec whose codebooks were started from its own latents, so that its codes depend on the audio."""
    codec = build(kind, seed, **changes)
    audio = torch.from_numpy(voice(4.0, codec.sample_rate))[None, None]
    if kind in TRANSFORMERS:
        _enliven_transformers(codec, audio, seed)
        return codec
    initialise_from_data(codec.model.encoder, audio, 1.0)
    with torch.no_grad():
        latent = codec.latent(audio)[0].t()
    start_codebooks(codec, latent, seed)
    return codec


living = cache(alive)  # for tests that change nothing in the codec


@torch.no_grad()
def _enliven_transformers(codec: Any, audio: torch.Tensor, seed: int) -> None:
    """The same for transformers' classes, whose weight norm is another."""

    def scale(module: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
        factor = 1 / output.std()
        normed = hasattr(module, "parametrizations")
        (module.parametrizations.weight.original0 if normed else module.weight).mul_(factor)
        if module.bias is not None:
            module.bias.mul_(factor)
        return output * factor

    layers = [module for module in codec.model.modules() if isinstance(module, torch.nn.Conv1d)]
    hooks = [layer.register_forward_hook(scale) for layer in layers]
    latent = codec.latent(audio)
    for hook in hooks:
        hook.remove()
    if isinstance(codec, TransformersDac):
        _start_dac(codec, latent, seed)
    elif isinstance(codec, TransformersMimi):
        quantizer = codec.model.quantizer
        for half in (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer):
            _start_rvq(half.layers, half.input_proj(latent), seed)
    else:
        _start_rvq(codec.rvq_layers, latent, seed)


def _start_dac(codec: Any, residual: torch.Tensor, seed: int) -> None:
    for book in codec.rvq_layers:
        torch.nn.init.normal_(book.in_proj.weight)
        torch.nn.init.normal_(book.out_proj.weight, std=0.1)
        book.codebook.weight.copy_(kmeans(book.in_proj(residual)[0].t(), codec.codebook_size, seed)[0])
        codes = book.forward(residual)[3]
        residual = residual - book.out_proj(book.codebook(codes).transpose(1, 2))


def _start_rvq(books: Any, residual: torch.Tensor, seed: int) -> None:
    for book in books:
        rows = kmeans(residual[0].t(), book.codebook.codebook_size, seed)[0]
        if hasattr(book.codebook, "embed_sum"):
            book.codebook.embed_sum.copy_(rows)
            book.codebook._embed = None  # what it keeps of the rows before
        else:
            book.codebook.embed.copy_(rows)
        residual = residual - book.decode(book.encode(residual))


def make_small_tiny(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Replace the small model of a kind by the tiny one."""
    module = importlib.import_module(f"phonoscope.codecs.kinds.{kind}")
    monkeypatch.setattr(module, "KIND", replace(module.KIND, small=ARCHITECTURES[kind]))
