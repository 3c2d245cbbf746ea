"""What a probe's score is read against: a permuted codebook, and look-up by code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.probes import ClassWeight
from phonoscope.probes.solvers import class_weights
from phonoscope.probes.tables import ClassTable, ValueTable


def permute_rows(codebook: NDArray[Any], used: NDArray[np.bool_], seed: int) -> NDArray[Any]:
    """Shuffle rows [codes, dims] over the codes that are `used` [codes]: the same rows, their geometry destroyed."""
    codes = np.flatnonzero(used)
    permuted = codebook.copy()
    permuted[codes] = codebook[np.random.default_rng(seed).permutation(codes)]
    return permuted


def lookup_classes(table: ClassTable) -> NDArray[np.int64]:
    """Most frequent class of each code [codes], the read-out for accuracy; of all frames where a code has none."""
    return np.where(table.frames > 0, table.counts.argmax(axis=1), table.counts.sum(axis=0).argmax())


def smoothed_lookup_classes(table: ClassTable, class_weight: ClassWeight) -> NDArray[np.int64]:
    """Read-out under the probe's class weights, for macro-F1 [codes]: argmax_c weight_c P(c) P(code | c).

    P(code | c) is Dirichlet-smoothed towards the frequency of the code in all classes, so that a rare class does not
    win a code by a single frame. Codes without a frame get the majority class.
    """
    counts = table.counts.astype(np.float64)
    totals, marginal = counts.sum(axis=0), counts.sum(axis=1) / counts.sum()
    strength = _smoothing_strength(counts)
    likelihood = (counts + strength * marginal[:, None]) / (totals + strength)
    weight, seen = np.zeros(len(totals)), totals > 0
    weight[seen] = class_weights(table.counts.sum(axis=0)[seen], class_weight)
    scores = weight * totals * likelihood
    return np.where(marginal > 0, scores.argmax(axis=1), totals.argmax())


def _smoothing_strength(counts: NDArray[np.float64]) -> float:
    """Pseudo-frames a class that maximise the leave-one-out likelihood of the frames' codes given their classes."""
    from scipy.optimize import minimize_scalar

    # all frames of a cell are left out alike, so that the sum over frames is one over the cells in use
    code, label = np.nonzero(counts)
    seen, totals = counts[code, label], counts.sum(axis=0)[label]
    others = counts.sum(axis=1)[code] / counts.sum()

    def surprise(log_strength: float) -> float:
        strength = np.exp(log_strength)
        return -float(seen @ np.log((seen - 1 + strength * others) / (totals - 1 + strength)))

    return float(np.exp(minimize_scalar(surprise, bounds=(0.0, np.log(1e6)), method="bounded").x))


def lookup_values(table: ValueTable) -> NDArray[np.float64]:
    """Mean value of each code [codes]; of all frames where a code has none."""
    return np.divide(table.total, table.count, out=np.full(len(table.count), table.mean), where=table.count > 0)
