"""Dead features: counted in frames since they last fired, revived by an auxiliary loss or by resampling.

AuxK: Gao et al. 2024 (2406.04093), section 2.4. Resampling: Bricken et al. 2023, Towards monosemanticity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.selection import top_k
from phonoscope.sae.sparse import Pattern, decode

RESAMPLED_ENCODER = 0.2  # norm of a resampled feature's encoder row, relative to the mean of the live features


def count_idle(idle: Tensor, fired: Tensor, frames: int) -> None:
    """Add a batch of `frames` to the frames since each feature last fired, `idle` int64 [d_sae], in place.

    fired: indices of the features that are active in the batch, repeats allowed.
    """
    idle += frames
    idle[fired] = 0


def auxk_loss(model: SparseAutoencoder, x: Tensor, error: Tensor, pre: Tensor, dead: Tensor, k: int) -> Tensor:
    """Share of the error [n, d_out] left unexplained by the k dead features with the largest pre-activations.

    pre: all pre-activations [n, d_sae]. dead: bool [d_sae]. Returns 0 if no feature is dead.
    """
    index = dead.nonzero()[:, 0]
    if not len(index):
        return error.new_zeros(())
    best = top_k(pre[:, index], min(k, len(index)))
    pattern = Pattern(best.rows, index[best.columns], *pre.shape)
    explained = decode(pattern, model.entries(pre, x, pattern), model.W_dec)
    error = error.detach()
    return (error - explained).pow(2).sum() / (error - error.mean(dim=0)).pow(2).sum().clamp(min=1e-12)


@torch.no_grad()
def resample(
    model: SparseAutoencoder,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    dead: Tensor,
    generator: torch.Generator,
) -> int:
    """Point dead features at badly reconstructed frames and reset their optimizer state; return their number.

    x: [n, d_in]. y: [n, d_out]. dead: bool [d_sae]. Frames are drawn with probability proportional to their
    squared error; the decoder row becomes the frame's residual, the encoder row the input, the bias 0.
    """
    index = dead.nonzero()[:, 0]
    if not len(index):
        return 0
    error = y - model(x)
    weights = error.pow(2).sum(dim=1).cpu()
    drawn = torch.multinomial(weights, len(index), replacement=True, generator=generator).to(x.device)
    live = model.encoder[~dead].norm(dim=1)
    size = RESAMPLED_ENCODER * (live.mean() if len(live) else 1.0)
    direction = normalize(error[drawn])
    towards = direction if model.shape.form != "transcoder" else normalize(x[drawn] - model.input_bias)
    model.W_dec[index] = direction
    model.encoder[index] = towards * size
    model.b_enc[index] = 0.0
    for parameter in (model.W_dec, model.encoder, model.b_enc):
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][name][index] = 0.0
    return len(index)
