"""Codecs of the official classes, small enough for a test, with codebooks that fit their random encoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from phonoscope.codecs.checkpoints import BUILDERS
from phonoscope.codecs.hub import build_transformers
from phonoscope.codecs.initialise import initialise_from_data
from phonoscope.codecs.rvq import DacRvqTrainer, EmaRvqTrainer, kmeans

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


def build(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A tiny codec with random weights."""
    torch.manual_seed(seed)
    if kind in TRANSFORMERS:
        return build_transformers({**TRANSFORMERS[kind], **changes})
    return BUILDERS[kind]({**ARCHITECTURES[kind], **changes}, None)


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
    trainer = DacRvqTrainer if kind == "dac" else EmaRvqTrainer
    trainer(codec.rvq_layers(), 0.99, 0.1).start(latent, seed)
    return codec


@torch.no_grad()
def _enliven_transformers(codec: Any, audio: torch.Tensor, seed: int) -> None:
    """The same for transformers' classes, whose weight norm is another."""

    def scale(module: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
        factor = 1 / output.std()
        normed = hasattr(module, "parametrizations")
        (module.parametrizations.weight.original0 if normed else module.weight).mul_(factor)
        module.bias.mul_(factor)
        return output * factor

    layers = [module for module in codec.model.encoder.modules() if isinstance(module, torch.nn.Conv1d)]
    hooks = [layer.register_forward_hook(scale) for layer in layers]
    residual = codec.latent(audio)[0].t()
    for hook in hooks:
        hook.remove()
    for book in codec._layers:
        if hasattr(book, "in_proj"):
            torch.nn.init.normal_(book.in_proj.weight)
            torch.nn.init.normal_(book.out_proj.weight, std=0.1)
            projected = book.in_proj(residual.t()[None])[0].t()
            book.codebook.weight.copy_(kmeans(projected, codec.codebook_size, seed)[0])
        else:
            book.codebook.embed.copy_(kmeans(residual, codec.codebook_size, seed)[0])
        codes = book.forward(residual.t()[None])[3] if hasattr(book, "in_proj") else book.encode(residual.t()[None])
        rows = book.out_proj(book.codebook(codes).transpose(1, 2)) if hasattr(book, "in_proj") else book.decode(codes)
        residual = residual - rows[0].t()
