"""The probe with one hidden layer, beside the linear one: what a label costs that no linear map finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.errors import DataError
from phonoscope.probes.frames import standardise
from phonoscope.probes.solvers import class_weights, standardisation

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from phonoscope.config.probes import ClassWeight, MlpConfig
    from phonoscope.probes.tables import ClassTable
    from phonoscope.probes.vectors import FrameVectors

    Draw = Callable[[np.random.Generator], tuple[torch.Tensor, torch.Tensor]]
    """A batch: standardised vectors [m, dims] and the weight of every class for each, [m, classes]."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class MlpProbe:
    """A fitted network on standardised vectors: `weight @ relu(hidden_weight @ z + hidden_bias) + bias`."""

    hidden_weight: Array
    """[hidden, dims]"""
    hidden_bias: Array
    """[hidden]"""
    weight: Array
    """[classes, hidden]"""
    bias: Array
    """[classes]"""
    mean: Array
    """[dims]"""
    scale: Array
    """[dims]"""
    classes: tuple[str, ...]

    def outputs(self, vectors: NDArray[Any]) -> Array:
        """Logits: [n, dims] -> [n, classes]."""
        hidden = ((vectors - self.mean) / self.scale) @ self.hidden_weight.T + self.hidden_bias
        return np.maximum(hidden, 0.0) @ self.weight.T + self.bias

    def predict(self, vectors: NDArray[Any]) -> NDArray[np.int64]:
        """Indices into `classes`: [n, dims] -> [n]."""
        return self.outputs(vectors).argmax(axis=1)


def fit_mlp(
    table: ClassTable, codebook: NDArray[Any], config: MlpConfig, *, class_weight: ClassWeight = "balanced", seed: int
) -> MlpProbe:
    """Fit to the frames behind `table`, all of them in every step; `codebook` is [codes, dims].

    Raises `DataError` if fewer than two classes have frames.
    """
    import torch

    seen, used = table.counts.sum(axis=0) > 0, table.counts.sum(axis=1) > 0
    counts = table.counts[used][:, seen]
    mean, scale = standardisation(codebook[used], counts.sum(axis=1))
    targets = counts * class_weights(_enough(counts.sum(axis=0)), class_weight)
    rows = torch.from_numpy((codebook[used] - mean) / scale).float()
    weights = torch.from_numpy(targets / targets.sum()).float()
    classes = [name for name, keep in zip(table.classes, seen, strict=True) if keep]
    return _train(lambda rng: (rows, weights), mean, scale, classes, config, seed)


def fit_mlp_index(
    vectors: FrameVectors,
    index: NDArray[np.integer],
    classes: Sequence[str],
    config: MlpConfig,
    *,
    class_weight: ClassWeight = "balanced",
    seed: int,
) -> MlpProbe:
    """Fit to frames, in random mini-batches; `index` [n] are their classes, negative for frames that are left out.

    Raises `DataError` if fewer than two classes have frames.
    """
    import torch

    totals = np.bincount(index[index >= 0], minlength=len(classes))
    seen = np.flatnonzero(totals)
    column = np.full(len(classes), -1)
    column[seen] = np.arange(len(seen))
    each = np.diag(class_weights(_enough(totals[seen]), class_weight))
    frames, labels = np.flatnonzero(index >= 0), column[index]
    mean, scale = standardise(vectors, index >= 0)

    def draw(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = np.sort(rng.choice(frames, size=config.batch_size))
        weights = each[labels[chosen]]
        rows = (vectors.rows(chosen) - mean) / scale
        return torch.from_numpy(rows).float(), torch.from_numpy(weights / weights.sum()).float()

    return _train(draw, mean, scale, [name for name, total in zip(classes, totals, strict=True) if total], config, seed)


def _enough(totals: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(totals) < 2:
        raise DataError(f"a probe needs frames of at least two classes; there are {len(totals)}")
    return totals


def _train(draw: Draw, mean: Array, scale: Array, classes: Sequence[str], config: MlpConfig, seed: int) -> MlpProbe:
    """AdamW under a cosine from `lr` to 0; one torch thread, for the same weights everywhere."""
    import torch
    from torch import nn

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden, output = nn.Linear(len(mean), config.hidden), nn.Linear(config.hidden, len(classes))
    optimiser = torch.optim.AdamW(
        [*hidden.parameters(), *output.parameters()], lr=config.lr, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    rng = np.random.default_rng(seed)
    for _ in range(config.steps):
        rows, weights = draw(rng)
        optimiser.zero_grad()
        logits = output(torch.relu(hidden(rows)))
        loss = -(weights * torch.log_softmax(logits, dim=1)).sum()
        loss.backward()
        optimiser.step()
        schedule.step()
    torch.set_num_threads(threads)
    parts = (hidden.weight, hidden.bias, output.weight, output.bias)
    first, first_bias, second, second_bias = (part.detach().double().numpy() for part in parts)
    return MlpProbe(first, first_bias, second, second_bias, mean, scale, tuple(classes))
