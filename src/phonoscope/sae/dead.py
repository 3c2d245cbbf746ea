"""Dead features, which have not fired for long: revived by an auxiliary loss or by resampling.

AuxK: Gao et al. 2024 (2406.04093), section 2.4. Resampling: Bricken et al. 2023, Towards monosemanticity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.optim import Optimizer

from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.sparse import Pattern, decode, top_k


def auxk_loss(model: SparseAutoencoder, x: Tensor, error: Tensor, pre: Tensor, dead: Tensor, k: int) -> Tensor:
    """Share of the error [n, d_out] left unexplained by the k dead features with the largest pre-activations.

    pre: all pre-activations [n, d_sae]. dead: bool [d_sae]. Returns 0 if no feature is dead.
    """
    index = dead.nonzero()[:, 0]
    if not len(index):
        return error.new_zeros(())
    # ranked among the dead alone: beside live features they would never be among the largest, and get no gradient
    best = top_k(pre[:, index], min(k, len(index)))
    pattern = Pattern(best.rows, index[best.columns], *pre.shape)
    explained = decode(pattern, model.entries(pre, x, pattern), model.W_dec)
    # detached: the loss pulls dead features to the error, and must not pull live ones to what the dead explain
    error = error.detach()
    # over the error's own variance, so that its weight means the same early and late in the training
    return (error - explained).pow(2).sum() / (error - error.mean(dim=0)).pow(2).sum().clamp(min=1e-12)


@torch.no_grad()
def resample(
    model: SparseAutoencoder, optimizer: Optimizer, x: Tensor, error: Tensor, dead: Tensor, generator: torch.Generator
) -> int:
    """Point dead features at badly reconstructed frames and reset their optimizer state; return their number.

    x: [n, d_in]. error: [n, d_out], output minus reconstruction, as the training sees it. dead: bool [d_sae]. Frames
    are drawn with probability proportional to their squared error; the decoder row becomes the frame's residual, the
    encoder row the input, the bias 0.
    """
    index = dead.nonzero()[:, 0]
    if not len(index):
        return 0
    # drawn on the CPU, where one seed gives the same frames whatever the device
    drawn = torch.multinomial(error.pow(2).sum(dim=1).cpu(), len(index), replacement=True, generator=generator)
    drawn = drawn.to(x.device)
    live = model.encoder[~dead].norm(dim=1)
    direction = normalize(error[drawn])
    towards = direction if model.shape.form != "transcoder" else normalize(x[drawn] - model.input_bias)
    model.W_dec[index] = direction
    model.encoder[index] = towards * (model.kind.resampled_norm * (live.mean() if len(live) else 1.0))
    model.b_enc[index] = 0.0
    for parameter in (model.W_dec, model.encoder, model.b_enc):  # Adam's moments would pull them back
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][name][index] = 0.0
    return len(index)
