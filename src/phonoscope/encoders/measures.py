"""Size, work and behaviour of an audio encoder: parameters, multiply-adds, gradients, peaks after pooling."""

import pandas as pd
import torch
from torch import Tensor

from phonoscope.encoders.audio import KERNELS, AudioEncoder, InputKind, TemporalBranch

TR_FRAMES = 112  # frames of EnCodec in 1.5 s, as the claims count them


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


def size(encoder: AudioEncoder, frames: int) -> dict[str, int]:
    """Number of parameters, and bytes of one window as the encoder takes it: int64 codes, float32 mel frames."""
    window = encoder.channels * frames * (8 if encoder.input == "codes" else 4)
    return {"parameters": sum(p.numel() for p in encoder.parameters()), "input_bytes": window}


def gradient_share(encoder: AudioEncoder, x: Tensor) -> tuple[int, int]:
    """Number of parameter tensors that a gradient reaches (finite and not all zero), and of all."""
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
    """Share of a one-frame event's peak that pooling keeps: by the maximum over time, and by the mean instead.

    x: [1, channels, frames]. The event is x's first frame, planted in the middle of a window that holds x's last frame
    throughout. Medians over the branches' features that respond, as shares of the response's height above the rest.
    """
    quiet = x[:, :, -1:].expand_as(x).contiguous()
    event = quiet.clone()
    event[:, :, x.shape[2] // 2] = x[:, :, 0]
    edge = max(KERNELS) // 2  # where a convolution sees the padding
    shares = []
    with torch.no_grad():
        before, after = (encoder.embedding(v) if encoder.embedding else v for v in (quiet, event))
        for branch in encoder.eval().branches:
            assert isinstance(branch, TemporalBranch)
            rest, peak = (branch.response(v)[0, :, edge:-edge] for v in (before, after))
            height = peak.amax(dim=1) - rest[:, 0]
            pooled = torch.stack([peak.amax(dim=1) - rest.amax(dim=1), peak.mean(dim=1) - rest.mean(dim=1)])
            shares.append((pooled / height)[:, height > 1e-6])  # a feature that ReLU silences has no height
    kept, averaged = torch.cat(shares, dim=1).median(dim=1).values.tolist()
    return kept, averaged


def sizes() -> pd.DataFrame:
    """Sizes of one window of each input: encoder, channels, frames, input_bytes, parameters, macs (multiply-adds)."""
    inputs: list[tuple[str, InputKind, int, int]] = [
        ("codes", "codes", 8, TR_FRAMES),
        ("codes_16", "codes", 16, TR_FRAMES),
        ("mel", "mel", 2048, 65),  # what the claims were made against
        ("mel_80", "mel", 80, 150),  # the usual speech front end
    ]
    rows = []
    for name, kind, channels, frames in inputs:
        encoder = AudioEncoder(kind, channels=channels)
        row = {"encoder": name, "channels": channels, "frames": frames, "macs": macs(encoder, frames)}
        rows.append(row | size(encoder, frames))
    return pd.DataFrame(rows, columns=["encoder", "channels", "frames", "input_bytes", "parameters", "macs"])


def behaviour(encoder: AudioEncoder, codes: Tensor) -> dict[str, float]:
    """Gradients and peaks of an encoder, on real windows without padding [batch, codebooks, frames]."""
    reached, tensors = gradient_share(encoder, codes)
    kept, averaged = peak_kept(encoder, codes[:1])
    return {"gradient_tensors": reached, "tensors": tensors, "peak_kept_max": kept, "peak_kept_mean": averaged}
