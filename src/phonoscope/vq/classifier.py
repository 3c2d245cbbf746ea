"""The digit classifier of the ablation: encoder, optional quantizer, optional sequence model, decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phonoscope.compute import derive_seed
from phonoscope.vq.quantizers import Quantized, Quantizer, build_quantizer
from phonoscope.vq.sequence import SequenceLayer, SequenceOutput, build_sequence

if TYPE_CHECKING:
    from phonoscope.vq.config import VqConfig
    from phonoscope.vq.variants import Variant


STRIDES = (2, 1, 1)


class FrameNorm(nn.LayerNorm):
    """Layer norm over the channels of each frame, [B, C, T]: unlike group norm, no frame sees the padding."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Encoder(nn.Module):
    """Log-mel [B, T, mels] -> [B, ceil(T / 2), dim] at 25 Hz. The same in train() and eval(); blind to padding."""

    def __init__(self, mels: int, channels: int, dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, channels, 3, stride=stride, padding=1)
            for width, stride in zip((mels, channels, channels), STRIDES, strict=True)
        )
        self.norms = nn.ModuleList(FrameNorm(channels) for _ in range(3))
        self.project = nn.Conv1d(channels, dim, 1)

    def forward(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The encoded frames [B, T', dim] and how many of them are real [B]."""
        x = mel.transpose(1, 2)
        for convolution, norm, stride in zip(self.convolutions, self.norms, STRIDES, strict=True):
            x = F.gelu(norm(convolution(x)))
            lengths = (lengths - 1).div(stride, rounding_mode="floor") + 1
            x = x * real_frames(lengths, x.shape[-1])[:, None]
        return self.project(x).transpose(1, 2), lengths


def real_frames(lengths: Tensor, time: int) -> Tensor:
    """[B], T -> [B, T] bool: true before each sequence's length."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


@dataclass(frozen=True)
class Decision:
    """One pass of a batch. N is the number of real encoder frames in it."""

    logits: Tensor
    """[B, classes]"""
    lengths: Tensor
    """[B]: encoder frames of each clip; they add up to N."""
    vectors: Tensor
    """[N, dim]: encoder outputs, L2-normalised, as the quantizer searches for them."""
    passed: Tensor
    """[N, dim]: what goes on: `vectors`, or the quantizer's codes with a straight-through gradient to them."""
    quantized: Quantized | None
    observed: Tensor
    """[B, T] codes or [B, T, dim] vectors: what a sequence model sees; zero at padding."""
    mask: Tensor
    """[B, T] bool: the real frames."""
    sequence: SequenceOutput | None


class DigitClassifier(nn.Module):
    """Encoder, L2 normalisation, quantizer, sequence model; time-mean and sequence features decide."""

    def __init__(self, variant: Variant, config: VqConfig, *, mels: int, classes: int, seed: int) -> None:
        super().__init__()
        self.encoder = Encoder(mels, config.channels, config.dim)
        self.quantizer = _build_codebook(variant, config, seed) if variant.update else None
        self.sequence: SequenceLayer | None = None
        if variant.sequence:
            self.sequence = build_sequence(
                variant.sequence,
                codes=config.codes if variant.update else None,
                dim=None if variant.update else config.dim,
                seed=derive_seed(seed, "sequence"),
                config=config.sequence,
            )
        extra = self.sequence.width if self.sequence else 0
        self.norm = nn.LayerNorm(config.dim)
        self.hidden = nn.Linear(config.dim + extra, config.channels)
        self.decide = nn.Linear(config.channels, classes)

    def encode(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """L2-normalised encoder outputs of the real frames [N, dim], the frames' mask [B, T'] and lengths [B]."""
        encoded, lengths = self.encoder(mel, lengths)
        mask = real_frames(lengths, encoded.shape[1])
        return F.normalize(encoded[mask], dim=-1), mask, lengths

    def forward(self, mel: Tensor, lengths: Tensor, *, swap_sequences: bool = False) -> Decision:
        """Classify log-mel clips [B, T, mels] of these lengths [B].

        `swap_sequences` gives each clip the sequence model's features of the clip before it, to see what they matter.
        """
        vectors, mask, lengths = self.encode(mel, lengths)
        quantized = self.quantizer(vectors) if self.quantizer else None
        passed = quantized.quantized if quantized else vectors
        frames = _spread(passed, mask)
        observed = _spread(quantized.codes[:, 0], mask) if quantized else frames
        features = [self.norm(frames.sum(dim=1) / lengths[:, None])]
        sequence = self.sequence(observed, mask) if self.sequence else None
        if sequence:
            features.append(sequence.features.roll(int(swap_sequences), dims=0))
        logits = self.decide(F.gelu(self.hidden(torch.cat(features, dim=1))))
        return Decision(logits, lengths, vectors, passed, quantized, observed, mask, sequence)

    def elbo(self, decision: Decision, *, utterances: int) -> float:
        """The sequence model's ELBO of a pass in nats per frame; 0 without one."""
        if not self.sequence or not decision.sequence:
            return 0.0
        return self.sequence.elbo(decision.mask, decision.sequence, utterances=utterances)

    def learn(self, decision: Decision, *, utterances: int) -> None:
        """The sequence model's own step from a pass, of a corpus of so many utterances; the rest learns by gradient."""
        if self.sequence and decision.sequence:
            self.sequence.learn(decision.observed, decision.mask, decision.sequence, utterances=utterances)

    @torch.no_grad()
    def start(self, mel: Tensor, lengths: Tensor, *, data_driven: bool) -> None:
        """Start the codebook from these clips, if `data_driven`, and then the sequence model."""
        vectors, mask, lengths = self.encode(mel, lengths)
        if self.quantizer and data_driven:
            self.quantizer.start(vectors)
        if self.sequence:
            observed = self.quantizer(vectors, frozen=True).codes[:, 0] if self.quantizer else vectors
            self.sequence.start(_spread(observed, mask), mask)


def _build_codebook(variant: Variant, config: VqConfig, seed: int) -> Quantizer:
    assert variant.update
    quantizer = build_quantizer(
        variant.update,
        config.dim,
        config.codes,
        decay=config.decay,
        dead_window=config.dead_window,
        dead_usage=config.dead_usage,
        seed=derive_seed(seed, "quantizer"),
    )
    assert isinstance(quantizer, Quantizer)
    return quantizer


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """Values of the real frames, [N, ...], where they belong: [B, T, ...], zero elsewhere."""
    spread = values.new_zeros(*mask.shape, *values.shape[1:])
    return spread.masked_scatter(mask.reshape(*mask.shape, *([1] * (values.dim() - 1))).expand_as(spread), values)
