"""The digit classifier of the ablation: encoder, optional quantizer, optional sequence model, decision."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phonoscope.compute import derive_seed
from phonoscope.config.vq import VqConfig
from phonoscope.studies.collapse.sequence import SequenceLayer, SequenceOutput, build_sequence
from phonoscope.studies.collapse.variants import Variant
from phonoscope.vq.quantizers import Quantized, Quantizer, build_quantizer


class Encoder(nn.Module):
    """Frames of clips to vectors at half the rate: three convolutions of width 3 and a projection.

    It works on the real frames alone, clips one after another, since most of a padded batch may be padding.
    """

    def __init__(self, mels: int, channels: int, dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Linear(3 * width, channels) for width in (mels, channels, channels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.project = nn.Linear(channels, dim)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel frames [N, mels] of clips with lengths [B] -> vectors [N', dim], and their number per clip [B]."""
        halved, lengths = frame_windows(lengths, stride=2)
        same, lengths = frame_windows(lengths, stride=1)
        x = frames
        for windows, convolution, norm in zip((halved, same, same), self.convolutions, self.norms, strict=True):
            # a convolution as one product of matrices over the real frames; the row of zeros is beyond a clip
            near = F.embedding(windows, F.pad(x, (0, 0, 0, 1)))  # [N', 3, width]
            x = F.gelu(norm(convolution(near.flatten(1))))
        return self.project(x), lengths


def frame_windows(lengths: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Indices of the frame before, at and after every `stride`-th frame of each clip [N', 3], and their number [B].

    Clips follow one another, N frames in all; index N stands for a frame beyond the ends of a clip.
    """
    after = (lengths - 1).div(stride, rounding_mode="floor") + 1
    clip = torch.repeat_interleave(after)
    first, first_after = lengths.cumsum(0) - lengths, after.cumsum(0) - after
    centre = (torch.arange(len(clip), device=lengths.device) - first_after[clip]) * stride
    frame = centre[:, None] + torch.arange(-1, 2, device=lengths.device)
    inside = (frame >= 0) & (frame < lengths[clip, None])
    return torch.where(inside, first[clip, None] + frame, lengths.sum()), after


def real_frames(lengths: Tensor, time: int) -> Tensor:
    """[B], T -> [B, T] bool: true before each sequence's length."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


@dataclass(frozen=True)
class Decision:
    """One pass of a batch. N is the number of real encoder frames in it."""

    logits: Tensor  # [B, classes]
    lengths: Tensor  # [B]: encoder frames of each clip; they add up to N
    vectors: Tensor  # [N, dim]: encoder outputs, L2-normalised, as the quantizer gets them
    passed: Tensor  # [N, dim]: input of the decision, `vectors` or codes with a straight-through gradient
    quantized: Quantized | None
    sequence: SequenceOutput | None


class DigitClassifier(nn.Module):
    """Encoder, L2 normalisation, quantizer, sequence model; time-mean and sequence features decide."""

    def __init__(self, variant: Variant, config: VqConfig, *, mels: int, classes: int, seed: int) -> None:
        super().__init__()
        self.encoder = Encoder(mels, config.channels, config.dim)
        self.quantizer: Quantizer | None = None
        self.sequence: SequenceLayer | None = None
        if variant.update:
            settings = config.model_dump(include={"decay", "dead_window", "dead_usage"})
            settings["seed"] = derive_seed(seed, "quantizer")
            self.quantizer = build_quantizer(variant.update, config.dim, config.codes, **settings)
        if variant.sequence:
            size = {"codes": config.codes} if variant.update else {"dim": config.dim}
            sequence_seed = derive_seed(seed, "sequence")
            self.sequence = build_sequence(variant.sequence, **size, seed=sequence_seed, config=config.sequence)
        self.norm = nn.LayerNorm(config.dim)
        self.hidden = nn.Linear(config.dim + (self.sequence.width if self.sequence else 0), config.channels)
        self.decide = nn.Linear(config.channels, classes)

    def encode(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """L2-normalised encoder outputs of the real frames [N, dim], and their number per clip [B]."""
        encoded, lengths = self.encoder(mel[real_frames(lengths, mel.shape[1])], lengths)
        return F.normalize(encoded, dim=-1), lengths

    def forward(self, mel: Tensor, lengths: Tensor, *, swap_sequences: bool = False) -> Decision:
        """Classify log-mel clips [B, T, mels] with lengths [B].

        `swap_sequences` gives each clip the sequence model's features of the clip before it, to test their influence.
        """
        vectors, lengths = self.encode(mel, lengths)
        quantized = self.quantizer(vectors) if self.quantizer else None
        passed = quantized.quantized if quantized else vectors
        sums = passed.new_zeros(len(lengths), passed.shape[1]).index_add(0, torch.repeat_interleave(lengths), passed)
        features = [self.norm(sums / lengths[:, None])]  # means over the frames of each clip
        sequence = None
        if self.sequence:
            sequence = self.sequence(*_by_clip(quantized.codes[:, 0] if quantized else vectors, lengths))
            features.append(sequence.features.roll(int(swap_sequences), dims=0))
        logits = self.decide(F.gelu(self.hidden(torch.cat(features, dim=1))))
        return Decision(logits, lengths, vectors, passed, quantized, sequence)

    def elbo(self, decision: Decision, *, utterances: int) -> float:
        """The sequence model's ELBO of a pass, in nats per frame; 0 without a sequence model."""
        if not self.sequence or not decision.sequence:
            return 0.0
        return self.sequence.elbo(decision.sequence, utterances=utterances)

    def learn(self, decision: Decision, *, utterances: int) -> None:
        """The sequence model's learning step from a pass; the other parts learn by gradient."""
        if self.sequence and decision.sequence:
            self.sequence.learn(decision.sequence, utterances=utterances)

    @torch.no_grad()
    def start(self, mel: Tensor, lengths: Tensor, *, data_driven: bool) -> None:
        """Start the codebook from clips, if `data_driven`, then the sequence model."""
        vectors, lengths = self.encode(mel, lengths)
        if self.quantizer and data_driven:
            self.quantizer.start(vectors)
        if self.sequence:
            observed = self.quantizer(vectors, frozen=True).codes[:, 0] if self.quantizer else vectors
            self.sequence.start(*_by_clip(observed, lengths))


def _by_clip(values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Values of the real frames [N, ...] by clip [B, T, ...], zero at padding, and the mask of real frames [B, T]."""
    mask = real_frames(lengths, int(lengths.max()))
    padded = values.new_zeros(*mask.shape, *values.shape[1:])
    return padded.masked_scatter(mask.reshape(*mask.shape, *([1] * (values.dim() - 1))).expand_as(padded), values), mask
