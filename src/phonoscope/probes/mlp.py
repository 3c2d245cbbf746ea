"""The probe with one hidden layer, beside the linear one: what a label costs that no linear map finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.probes.solvers import seen_classes, train_rows

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from phonoscope.config.probes import MlpConfig, ProbeConfig
    from phonoscope.probes.frames import FrameVectors
    from phonoscope.probes.tables import Array, ClassTable

    Draw = Callable[[np.random.Generator], tuple[torch.Tensor, torch.Tensor]]
    """A batch: standardised vectors [m, dims] and the weight of every class for each, [m, classes]."""


@dataclass(frozen=True)
class MlpProbe:
    """A fitted network: `weight @ relu(hidden_weight @ ((vector - mean) / scale) + hidden_bias) + bias`."""

    hidden_weight: Array  # [hidden, dims]
    hidden_bias: Array
    weight: Array  # [classes, hidden]
    bias: Array
    mean: Array
    scale: Array
    classes: tuple[str, ...]

    def predict(self, vectors: NDArray[Any]) -> NDArray[np.int64]:
        """Indices into `classes`: [n, dims] -> [n]."""
        hidden = ((vectors - self.mean) / self.scale) @ self.hidden_weight.T + self.hidden_bias
        return (np.maximum(hidden, 0.0) @ self.weight.T + self.bias).argmax(axis=1)


def fit_mlp(table: ClassTable, codebook: NDArray[Any], config: ProbeConfig, seed: int) -> MlpProbe:
    """Fit to all frames behind `table` in every step; `codebook` is [codes, dims]. Raises as `fit_probe`."""
    import torch

    rows, targets, mean, scale, classes = train_rows(table, codebook, config.classifier.class_weight)
    batch = torch.from_numpy(rows).float(), torch.from_numpy(targets / targets.sum()).float()
    return _train(lambda rng: batch, mean, scale, classes, config.mlp, seed)


def fit_mlp_index(
    vectors: FrameVectors, index: NDArray[np.integer], classes: Sequence[str], config: ProbeConfig, seed: int
) -> MlpProbe:
    """As `fit_mlp`, in random mini-batches of frames; `index` [n] are their classes, negative to leave a frame out."""
    import torch

    frames = np.flatnonzero(index >= 0)
    totals = np.bincount(index[frames], minlength=len(classes))
    seen, weights, names = seen_classes(totals, classes, config.classifier.class_weight)
    # row c: the weight of class c at its column, 0 elsewhere
    each, labels = np.diag(weights), np.searchsorted(seen, index)
    mean, scale = vectors.standardisation(index >= 0)

    def draw(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = np.sort(rng.choice(frames, size=config.mlp.batch_size))  # sorted, for memory maps
        targets = each[labels[chosen]]
        rows = (vectors.rows(chosen) - mean) / scale
        return torch.from_numpy(rows).float(), torch.from_numpy(targets / targets.sum()).float()

    return _train(draw, mean, scale, names, config.mlp, seed)


def _train(draw: Draw, mean: Array, scale: Array, classes: Sequence[str], config: MlpConfig, seed: int) -> MlpProbe:
    """AdamW under a cosine from `lr` to 0; one torch thread, for the same weights everywhere."""
    import torch
    from torch import nn

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden, output = nn.Linear(len(mean), config.hidden), nn.Linear(config.hidden, len(classes))
    parameters = [*hidden.parameters(), *output.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
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
    weight_1, bias_1, weight_2, bias_2 = (part.detach().double().numpy() for part in parameters)
    return MlpProbe(weight_1, bias_1, weight_2, bias_2, mean, scale, tuple(classes))
