"""What is claimed of an encoder on codes (giblet-responses, issue 24), and what each claim comes to when measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from phonoscope.encoders.audio import KERNELS, AudioEncoder, InputKind, TemporalBranch

if TYPE_CHECKING:
    import pandas as pd

TR_FRAMES = 112
"""Frames of EnCodec in 1.5 s, as the claims count them."""
DOCUMENT_MEL = (2048, 65)
"""Bins and frames of the mel input that the claims were made against."""
SMALL_MEL = (80, 150)
"""The usual speech front end: 80 bins, 100 frames a second."""


class Claim(NamedTuple):
    """One claim, what was stated, what was measured, and what follows."""

    claim: str
    stated: str
    measured: str
    verdict: str


def macs(encoder: AudioEncoder, frames: int) -> int:
    """Multiply-adds of encoding one window, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    x = example(encoder, frames)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.eval()(x)
    return counter.get_total_flops() // 2


def example(encoder: AudioEncoder, frames: int, batch: int = 1) -> Tensor:
    """A random input of a batch of windows, always the same."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, encoder.channels, frames)
    if encoder.embedding is not None:
        return torch.randint(0, encoder.embedding.vocabulary, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def parameters(encoder: AudioEncoder) -> int:
    return sum(p.numel() for p in encoder.parameters())


def input_bytes(kind: InputKind, channels: int, frames: int) -> int:
    """Bytes of one window as the encoder takes it: int64 codes, float32 mel frames."""
    return channels * frames * (8 if kind == "codes" else 4)


def gradient_share(encoder: AudioEncoder, x: Tensor) -> tuple[int, int]:
    """How many parameter tensors a gradient reaches (finite and not all zero), and how many there are."""
    encoder.train().zero_grad()
    output = encoder(x)
    # a random projection: with batch normalisation, the mean of the squares has no gradient for the scale
    target = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    (output * target).sum().backward()
    gradients = [p.grad for p in encoder.parameters()]
    reached = sum(g is not None and bool(g.isfinite().all()) and bool(g.any()) for g in gradients)
    encoder.zero_grad()
    return reached, len(gradients)


def peak_kept(encoder: AudioEncoder, x: Tensor) -> tuple[float, float]:
    """What is left of a one-frame event's peak after pooling: by the maximum over time, and by the mean instead.

    x: [1, channels, frames]. The event is x's first frame, planted in the middle of a window that holds x's last frame
    throughout. Medians over the branches' features that respond, as shares of the response's height above the rest.
    """
    quiet = x[:, :, -1:].expand_as(x).contiguous()
    event = quiet.clone()
    event[:, :, x.shape[2] // 2] = x[:, :, 0]
    edge = max(KERNELS) // 2  # where a convolution sees the padding
    shares: dict[str, list[Tensor]] = {"max": [], "mean": []}
    encoder.eval()
    with torch.no_grad():
        before, after = (encoder.embedding(v) if encoder.embedding else v for v in (quiet, event))
        for branch in encoder.branches:
            assert isinstance(branch, TemporalBranch)
            rest, peak = (branch.response(v)[0, :, edge:-edge] for v in (before, after))
            height = peak.amax(dim=1) - rest[:, 0]
            responds = height > 1e-6
            for name, pooled in {
                "max": peak.amax(dim=1) - rest.amax(dim=1),
                "mean": peak.mean(dim=1) - rest.mean(dim=1),
            }.items():
                shares[name].append((pooled / height)[responds])
    found = {name: float(torch.cat(parts).median()) for name, parts in shares.items()}
    return found["max"], found["mean"]


def size_claims() -> list[Claim]:
    """Input bytes, parameters and multiply-adds of one window, against both mel inputs."""
    codes, mel = AudioEncoder("codes"), AudioEncoder("mel")
    small = AudioEncoder("mel", channels=SMALL_MEL[0])
    code_bytes, mel_bytes = input_bytes("codes", 8, TR_FRAMES), input_bytes("mel", *DOCUMENT_MEL)
    small_bytes = input_bytes("mel", *SMALL_MEL)
    work = [macs(codes, TR_FRAMES) / 1e6, macs(mel, DOCUMENT_MEL[1]) / 1e6, macs(small, SMALL_MEL[1]) / 1e6]
    sixteen = AudioEncoder("codes", channels=16)
    return [
        Claim(
            "a smaller input",
            "74 times",
            f"{mel_bytes / code_bytes:.1f} times against 2,048 bins ({mel_bytes:,} and {code_bytes:,} bytes), "
            f"{small_bytes / code_bytes:.1f} times against 80 ({small_bytes:,} bytes)",
            "holds against 2,048 bins, which no speech front end needs",
        ),
        Claim(
            "fewer parameters",
            "1,214,592 and 2,082,368",
            f"{parameters(codes):,} and {parameters(mel):,}; mel of 80 bins has {parameters(small):,}",
            "holds against 2,048 bins only",
        ),
        Claim(
            "a faster audio branch",
            "40 %",
            f"{work[0]:.0f} million multiply-adds a window, {work[1]:.0f} with 2,048 bins, {work[2]:.0f} with 80; "
            "for seconds see docs/benchmarks.md",
            f"{'holds' if work[0] < work[1] else 'refuted'} in multiply-adds against 2,048 bins",
        ),
        Claim(
            "16 codebooks",
            "supported",
            f"{parameters(sixteen):,} parameters, {macs(sixteen, TR_FRAMES) / 1e6:.0f} million multiply-adds a window "
            "(random codes: the codec has 8)",
            "works",
        ),
    ]


def behaviour_claims(encoder: AudioEncoder, codes: Tensor) -> list[Claim]:
    """What gradients and pooling do, on real windows. codes: [batch, codebooks, frames], without padding."""
    reached, tensors = gradient_share(encoder, codes)
    kept, averaged = peak_kept(encoder, codes[:1])
    return [
        Claim(
            "a gradient reaches every parameter",
            "19 of 19",
            f"{reached} of {tensors}",
            "holds" if reached == tensors else "refuted",
        ),
        Claim(
            "max pooling keeps peaks",
            "yes",
            f"{100 * kept:.0f} % of the height of a response to one frame is left; with the mean, "
            f"{100 * averaged:.0f} %",
            "holds" if kept > 0.9 else "refuted",
        ),
    ]


ARMS = {
    "mel": ("codes or mel", "comparable (never measured)"),
    "scrambled": ("the axis order matters", "not noticed"),
    "per_codebook": ("one embedding table for all codebooks is enough", "assumed"),
    "half_codebooks": ("8 codebooks rather than 4", "more detail"),
    "half_embedding": ("an embedding of 64 dimensions rather than 32", "perhaps smaller"),
    "pretrained": ("starting from the codec's own vectors", "maybe helps"),
    "summed": ("the codec's own vectors, added up", "not considered"),
}
"""Each arm's claim, and what was stated."""


def accuracy_claims(differences: pd.DataFrame) -> list[Claim]:
    """What each arm changes, seed by seed; `differences` has a row an arm and metric, see `study.compare`."""
    found = []
    for arm, (claim, stated) in ARMS.items():
        rows = differences[differences["encoder"] == arm].set_index("metric")
        if rows.empty:
            continue
        parts = [_difference(rows.loc[f"accuracy_{task}"], task) for task in ("word", "speaker")]
        name = arm.replace("_", " ")
        found.append(Claim(claim, stated, f"{name} against codes: {'; '.join(parts)}", _verdict(rows)))
    return found


def _difference(row: Any, task: str) -> str:
    value, *points = (100 * float(row[key]) for key in ("value", "difference", "ci_low", "ci_high"))
    return f"{task} {value:.1f} % ({points[0]:+.1f} points, interval {points[1]:+.1f} to {points[2]:+.1f})"


def _verdict(rows: pd.DataFrame) -> str:
    words = []
    for task in ("word", "speaker"):
        row = rows.loc[f"accuracy_{task}"]
        sign = "better" if row["ci_low"] > 0 else "worse" if row["ci_high"] < 0 else "no clear difference"
        words.append(f"{task}: {sign}")
    return "; ".join(words)


def markdown(claims: list[Claim]) -> str:
    """The claims as a Markdown table."""
    lines = ["| claim | stated | measured | verdict |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(claim)} |" for claim in claims)]) + "\n"
