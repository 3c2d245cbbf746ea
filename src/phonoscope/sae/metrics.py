"""Reconstruction scores, and how often each feature fires."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from torch import Tensor
from torch.nn.functional import cosine_similarity

from phonoscope.errors import DataError
from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.sparse import spmm

Batches = Iterable[tuple[Tensor, Tensor]]  # inputs [n, d_in] and outputs [n, d_out]
BATCH = 4096


class Scores(NamedTuple):
    # fraction of variance unexplained: sum of |y - y'|^2 over sum of |y - mean|^2, over frames and dimensions; `mean`
    # is that of the train frames, so a constant prediction fitted on train scores 1 or more
    fvu: float
    cosine: float  # mean over frames of the cosine of y - mean and y' - mean
    l0: float  # mean number of active features of a frame
    fvu_by_layer: tuple[float, ...]  # the FVU of each layer that a crosscoder writes; else one value


@torch.no_grad()
def score(model: SparseAutoencoder, batches: Batches, mean: Tensor) -> Scores:
    """Scores over batches; `mean` [d_out] is that of train."""
    layers = model.shape.layers
    unexplained, total = torch.zeros(layers, dtype=torch.float64), torch.zeros(layers, dtype=torch.float64)
    cosine, active, frames = 0.0, 0, 0
    for x, y in batches:
        pattern, values = model.sparse(x)
        # sums over frames, not a mean of each batch's ratio: the last batch is shorter, and ratios do not average
        output = (spmm(pattern, values, model.W_dec) + model.b_dec + model.bypass(x)).double()
        y, centre = y.double(), mean.double()
        unexplained += (y - output).pow(2).unflatten(1, (layers, -1)).sum(dim=(0, 2)).cpu()
        total += (y - centre).pow(2).unflatten(1, (layers, -1)).sum(dim=(0, 2)).cpu()
        cosine += float(cosine_similarity(y - centre, output - centre, dim=1).sum())
        active += len(values)
        frames += len(x)
    by_layer = tuple((unexplained / total).tolist())
    return Scores(float(unexplained.sum() / total.sum()), cosine / frames, active / frames, by_layer)


@torch.no_grad()
def frame_sums(model: SparseAutoencoder, batches: Batches, mean: Tensor) -> NDArray[np.float64]:
    """Of every frame |y - y'|^2, |y - mean|^2 and the number of active features: [frames, 3]."""
    rows = []
    for x, y in batches:
        pattern, values = model.sparse(x)
        output = spmm(pattern, values, model.W_dec) + model.b_dec + model.bypass(x)
        errors = [(y.double() - other.double()).pow(2).sum(dim=1) for other in (output, mean)]
        rows.append(torch.stack([*errors, pattern.offsets.diff().double()], dim=1).cpu())
    return torch.cat(rows).numpy()


def mean_output(batches: Batches) -> Tensor:
    """The mean of the outputs, summed in float64: float32 [d_out]."""
    total, frames = torch.zeros((), dtype=torch.float64), 0
    for _, y in batches:
        total = total.to(y.device) + y.double().sum(dim=0)
        frames += len(y)
    return (total / frames).float()


@torch.no_grad()
def firing(model: SparseAutoencoder, batches: Batches) -> dict[str, NDArray[Any]]:
    """Firing of each feature, [d_sae] each: `density`, the share of frames in which it is active; `mean_activation`
    and `max_activation` in these frames, 0 if there are none."""
    counts, sums = (torch.zeros(model.shape.d_sae, dtype=torch.float64) for _ in range(2))
    largest, frames = torch.zeros(model.shape.d_sae), 0
    for x, _ in batches:
        pattern, values = model.sparse(x)
        columns, values = pattern.columns.cpu(), values.cpu()
        counts += torch.bincount(columns, minlength=model.shape.d_sae)
        sums += torch.bincount(columns, values.double(), minlength=model.shape.d_sae)
        largest.scatter_reduce_(0, columns, values, "amax")
        frames += len(x)
    means = sums / counts.clamp(min=1)
    return {"density": (counts / frames).numpy(), "mean_activation": means.numpy(), "max_activation": largest.numpy()}


def feature_table(model: SparseAutoencoder, train: Batches, held_out: Batches) -> pd.DataFrame:
    """One row a feature: feature, density, mean_activation, max_activation (held out), train_density, decoder_norm,
    and dead, which is `true` if it is never active on train."""
    table = pd.DataFrame({"feature": np.arange(model.shape.d_sae), **firing(model, held_out)})
    table["train_density"] = firing(model, train)["density"]
    table["dead"] = np.where(table["train_density"] > 0, "false", "true")
    table["decoder_norm"] = model.norms().cpu().numpy()
    return table


def l0_curve(
    model: SparseAutoencoder, train: Sequence[Tensor], held_out: Sequence[tuple[Tensor, Tensor]], mean: Tensor
) -> pd.DataFrame:
    """FVU over L0 of one model's weights, k doubling from 4 to twice the model's: columns k, l0, fvu, cosine.

    train: inputs [n, d_in], which set the thresholds. held_out: inputs and outputs, which are scored.
    """
    other, rows = deepcopy(model), []
    for power in range(2, min(2 * model.shape.k, model.shape.d_sae).bit_length()):
        other.shape = model.shape.model_copy(update={"k": 2**power})
        other.kind.read_at(other, train)
        rows.append({"k": 2**power, **score(other, held_out, mean)._asdict()})
    table = pd.DataFrame(rows, columns=["k", "l0", "fvu", "cosine"])
    return table.drop_duplicates("l0", ignore_index=True)  # a larger k than there are positive features changes nothing


@torch.no_grad()
def activations(model: SparseAutoencoder, features: NDArray[Any], batch: int = BATCH) -> csr_array:
    """Activations of frames [n, d_in], any float dtype, memory-mapped or not: a sparse float32 [n, d_sae].

    Raises: `DataError` for frames of another width.
    """
    if features.shape[1] != model.shape.d_in:
        raise DataError(f"the model takes {model.shape.d_in} inputs, the features have {features.shape[1]}")
    parts = []
    for start in range(0, len(features), batch):
        x = torch.from_numpy(np.array(features[start : start + batch], dtype=np.float32)).to(model.W_dec.device)
        pattern, values = model.sparse(x)
        entries = (values, pattern.columns, pattern.offsets)
        part = csr_array(tuple(entry.cpu().numpy() for entry in entries), shape=(len(x), model.shape.d_sae))
        part.sort_indices()
        parts.append(part)
    return csr_array(vstack(parts, format="csr"))
