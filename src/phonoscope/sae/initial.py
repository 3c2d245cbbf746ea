"""Initial weights: biases at the geometric median, unit decoder rows along frames of the data."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from phonoscope.sae.models import SparseAutoencoder

CHUNK = 4096


def geometric_median(points: Tensor) -> Tensor:
    """Point with the least summed distance to points [n, d], by Weiszfeld's algorithm: [d]."""
    guess = points.mean(dim=0)
    for _ in range(100):
        # a mean weighted by 1 / distance; clamped, as the guess may fall on a point
        weights = 1 / (points - guess).norm(dim=1).clamp(min=torch.finfo(points.dtype).eps)
        previous, guess = guess, (weights @ points) / weights.sum()
        if (guess - previous).norm() <= 1e-6 * guess.norm():
            break
    return guess


def spread(points: Tensor) -> float:
    """Root of the mean squared distance of points [n, d] from their mean."""
    return float(points.var(dim=0, correction=0).sum().sqrt())


@torch.no_grad()
def initialise(model: SparseAutoencoder, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """Set the weights from a sample of frames x [n, d_in] and y [n, d_out], the same tensor for an autoencoder.

    Decoder rows are unit frames of the sample about the median, mixed with noise; the encoder is the decoder's
    transpose (a transcoder's: the same frames of the input), times the factor that reconstructs the sample best.
    """
    d_sae = model.shape.d_sae
    model.b_dec.copy_(geometric_median(y))
    model.input_bias.copy_(geometric_median(x))
    # every frame once before any twice, where there are more features than frames
    drawn = torch.randperm(max(len(x), d_sae), generator=generator)[:d_sae].to(x.device) % len(x)
    model.W_dec.copy_(_directions(y[drawn] - model.b_dec, generator))
    if model.shape.form == "transcoder":
        model.encoder.copy_(_directions(x[drawn] - model.input_bias, generator))
    else:
        model.encoder.copy_(model.W_dec)
    model.kind.start(model, x.split(CHUNK))
    output = torch.cat([model.decode(model.encode(part)) for part in x.split(CHUNK)]) - model.b_dec
    # Frames resemble one another, so many rows answer each frame and their sum is too large. One factor, found by least
    # squares, corrects it. Thresholds are scaled with the activations, so the same features stay active.
    factor = (output * (y - model.b_dec)).sum() / output.pow(2).sum().clamp(min=1e-12)
    model.encoder.mul_(factor)
    model.threshold.mul_(factor)


def _directions(frames: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(frames.shape, generator=generator).to(frames.device)
    return normalize(normalize(frames) + normalize(noise))
