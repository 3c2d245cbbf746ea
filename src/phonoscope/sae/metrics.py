"""How good a reconstruction is, and how often each feature fires."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from phonoscope.sae.calibrate import calibrate
from phonoscope.sae.sparse import Pattern, spmm

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from phonoscope.sae.models import SparseAutoencoder

Batches = Iterable[tuple[Tensor, Tensor]]
BATCH = 4096


@dataclass(frozen=True)
class Scores:
    """A model's reconstruction of some frames."""

    fvu: float
    """Fraction of variance unexplained: sum of |y - y'|^2 over sum of |y - mean|^2, over frames and dimensions in
    float64; `mean` is that of the train frames, so a constant prediction fitted on train scores 1 or more."""
    cosine: float
    """Mean over frames of the cosine of y - mean and y' - mean."""
    l0: float
    """Mean number of active features of a frame."""
    fvu_by_layer: tuple[float, ...]
    """The FVU of each layer that a crosscoder writes; else one value."""


@torch.no_grad()
def score(model: SparseAutoencoder, batches: Batches, mean: Tensor) -> Scores:
    """Scores over batches of inputs [n, n_inputs] and outputs [n, n_outputs]; `mean` [n_outputs] is that of train."""
    layers = model.config.layers
    unexplained, total = torch.zeros(layers, dtype=torch.float64), torch.zeros(layers, dtype=torch.float64)
    cosine, active, frames = 0.0, 0, 0
    for x, y in batches:
        pattern, values = _active(model, x)
        output = (spmm(pattern, values, model.decoder) + model.decoder_bias + model.bypass(x)).double()
        y, centre = y.double(), mean.double()
        unexplained += (y - output).pow(2).unflatten(1, (layers, -1)).sum(dim=(0, 2)).cpu()
        total += (y - centre).pow(2).unflatten(1, (layers, -1)).sum(dim=(0, 2)).cpu()
        cosine += float(cosine_similarity(y - centre, output - centre, dim=1).sum())
        active += len(values)
        frames += len(x)
    by_layer = tuple((unexplained / total).tolist())
    return Scores(float(unexplained.sum() / total.sum()), cosine / frames, active / frames, by_layer)


def _active(model: SparseAutoencoder, x: Tensor) -> tuple[Pattern, Tensor]:
    """The active entries of x [n, n_inputs] in inference, and their activations [entries]."""
    pre = model.pre(x)
    pattern = model.active(pre)
    return pattern, pre[pattern.rows, pattern.columns]


def mean_output(batches: Batches) -> Tensor:
    """The mean of the outputs [n, n_outputs], summed in float64: float32 [n_outputs]."""
    total, frames = torch.zeros((), dtype=torch.float64), 0
    for _, y in batches:
        total = total.to(y.device) + y.double().sum(dim=0)
        frames += len(y)
    return (total / frames).float()


@torch.no_grad()
def firing(model: SparseAutoencoder, batches: Batches) -> dict[str, NDArray[Any]]:
    """Of each feature: `density`, the share of frames in which it is active, and its mean activation in these and its
    largest (`mean_activation`, `max_activation`: 0 if it never is). Each [width]."""
    counts, sums = (torch.zeros(model.width, dtype=torch.float64) for _ in range(2))
    largest, frames = torch.zeros(model.width), 0
    for x, _ in batches:
        pattern, values = _active(model, x)
        columns, values = pattern.columns.cpu(), values.cpu()
        counts += torch.bincount(columns, minlength=model.width)
        sums += torch.bincount(columns, values.double(), minlength=model.width)
        largest.scatter_reduce_(0, columns, values, "amax")
        frames += len(x)
    means = sums / counts.clamp(min=1)
    return {
        "density": (counts / frames).numpy(),
        "mean_activation": means.numpy(),
        "max_activation": largest.numpy(),
    }


def feature_table(model: SparseAutoencoder, train: Batches, held_out: Batches) -> pd.DataFrame:
    """One row a feature.

    Columns: feature, density, mean_activation, max_activation (held out), train_density, dead (`true` if it is never
    active on train), decoder_norm.
    """
    import pandas as pd

    table = pd.DataFrame({"feature": np.arange(model.width), **firing(model, held_out)})
    table["train_density"] = firing(model, train)["density"]
    table["dead"] = np.where(table["train_density"] > 0, "false", "true")
    table["decoder_norm"] = model.norms().cpu().numpy()
    return table


def at_l0(model: SparseAutoencoder, batches: Iterable[Tensor], k: int) -> SparseAutoencoder:
    """The same weights read out with k active features a frame: another k (`topk`) or another threshold."""
    other = deepcopy(model)
    other.config = model.config.model_copy(update={"k": k})
    if model.config.kind != "topk":
        calibrate(other, batches, k)
    return other


def l0_curve(
    model: SparseAutoencoder, train: Sequence[Tensor], held_out: Sequence[tuple[Tensor, Tensor]], mean: Tensor
) -> pd.DataFrame:
    """FVU over L0 of one model's weights, k doubling from 4 up to twice its own: columns k, l0, fvu, cosine.

    train: inputs [n, n_inputs], which set the thresholds. held_out: inputs and outputs, which are scored.
    """
    import pandas as pd

    rows = []
    k = 4
    while k <= min(2 * model.config.k, model.width):
        found = score(at_l0(model, train, k), held_out, mean)
        rows.append({"k": k, "l0": found.l0, "fvu": found.fvu, "cosine": found.cosine})
        k *= 2
    table = pd.DataFrame(rows, columns=["k", "l0", "fvu", "cosine"])
    return table.drop_duplicates("l0", ignore_index=True)  # beyond all positive ones there are no more features


@torch.no_grad()
def activations(model: SparseAutoencoder, features: NDArray[Any], batch: int = BATCH) -> csr_array:
    """Activations of frames [n, n_inputs], any float dtype, memory-mapped or not: a sparse float32 [n, width]."""
    from scipy.sparse import csr_array, vstack

    device = model.decoder.device
    parts = []
    for start in range(0, len(features), batch):
        x = torch.from_numpy(np.array(features[start : start + batch], dtype=np.float32)).to(device)
        pattern, values = _active(model, x)
        entries = (values, pattern.columns, pattern.offsets)
        part = csr_array(tuple(entry.cpu().numpy() for entry in entries), shape=(len(x), model.width))
        part.sort_indices()
        parts.append(part)
    return csr_array(vstack(parts, format="csr"))
