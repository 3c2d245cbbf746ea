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

RESAMPLED_ENCODER = 0.2  # norm of a resampled feature's encoder row over the mean of the living ones'


def count_silence(silence: Tensor, fired: Tensor, frames: int) -> None:
    """Add a batch of `frames` to the frames since each feature last fired, `silence` int64 [width], in place.

    fired: indices of the features that are active in the batch, repeats allowed.
    """
    silence += frames
    silence[fired] = 0


def auxk_loss(model: SparseAutoencoder, x: Tensor, error: Tensor, pre: Tensor, dead: Tensor, k: int) -> Tensor:
    """Share of the error [n, n_outputs] that the k dead features with the largest pre-activations leave unexplained.

    pre: all pre-activations [n, width]. dead: bool [width]. Returns 0 if no feature is dead.
    """
    index = dead.nonzero()[:, 0]
    if not len(index):
        return error.new_zeros(())
    best = top_k(pre[:, index], min(k, len(index)))
    pattern = Pattern(best.rows, index[best.columns], *pre.shape)
    explained = decode(pattern, model.entries(pre, x, pattern), model.decoder)
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
    """Point dead features at badly reconstructed frames and reset their optimizer state; return how many.

    x: [n, n_inputs]. y: [n, n_outputs]. dead: bool [width]. Frames are drawn with probability proportional to their
    squared error; the decoder row becomes the frame's residual, the encoder row the input, the bias 0.
    """
    index = dead.nonzero()[:, 0]
    if not len(index):
        return 0
    error = y - model(x)
    weights = error.pow(2).sum(dim=1).cpu()
    drawn = torch.multinomial(weights, len(index), replacement=True, generator=generator).to(x.device)
    living = model.encoder[~dead].norm(dim=1)
    size = RESAMPLED_ENCODER * (living.mean() if len(living) else 1.0)
    direction = normalize(error[drawn])
    towards = direction if model.config.form != "transcoder" else normalize(x[drawn] - model.input_bias)
    model.decoder[index] = direction
    model.encoder[index] = towards * size
    model.encoder_bias[index] = 0.0
    for parameter in (model.decoder, model.encoder, model.encoder_bias):
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][name][index] = 0.0
    return len(index)
