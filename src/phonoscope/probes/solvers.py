"""Fit a probe to a contingency table.

Logistic regression on frames equals logistic regression on codebook rows with soft targets: both have the objective

    C * sum_kc targets[k, c] * -log softmax(W z_k + b)[c]  +  1/2 ||W||^2,   targets = counts * class weight

which is scikit-learn's (`LogisticRegression`, lbfgs) on the expanded frames, z being the standardised row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.probes import ClassWeight
from phonoscope.errors import DataError
from phonoscope.probes.tables import Array, ClassTable, ValueTable


@dataclass(frozen=True)
class Probe:
    """A fitted linear map on standardised vectors: `weight @ ((vector - mean) / scale) + bias`.

    `classes` is empty for a regression, which has one output. `objective` is the value minimised: scikit-learn's
    C * loss + penalty for a classifier, the residual sum of squares + penalty for a regression.
    """

    weight: Array  # [outputs, dims]
    bias: Array  # [outputs]
    mean: Array  # [dims]
    scale: Array
    classes: tuple[str, ...]
    objective: float
    converged: bool
    iterations: int

    def outputs(self, vectors: NDArray[Any]) -> NDArray[np.float64]:
        """Logits, or the predicted values of a regression. Shape [n, dims] -> [n, outputs]."""
        return ((vectors - self.mean) / self.scale) @ self.weight.T + self.bias

    def predict(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Indices into `classes`, or for a regression the values. Shape [n, dims] -> [n]."""
        outputs = self.outputs(vectors)
        return outputs.argmax(axis=1) if self.classes else outputs[:, 0]


def standardisation(codebook: NDArray[Any], weights: NDArray[Any]) -> tuple[Array, Array]:
    """Mean and standard deviation [dims] of the frames that a weighted codebook [codes, dims] stands for."""
    rows, share = codebook.astype(np.float64), weights / weights.sum()
    mean = share @ rows
    variance = share @ (rows - mean) ** 2
    # constant dimensions get scale 1, as in scikit-learn's `StandardScaler`
    constant = variance <= 1e-14 * np.maximum(mean**2, np.finfo(np.float64).tiny)
    return mean, np.where(constant, 1.0, np.sqrt(variance))


def class_weights(totals: NDArray[np.integer], class_weight: ClassWeight) -> Array:
    """Weight of each class [classes] from its frames; `balanced` is frames / (classes * class frames)."""
    return totals.sum() / (len(totals) * totals) if class_weight == "balanced" else np.ones(len(totals))


def seen_classes(
    totals: NDArray[np.integer], classes: Sequence[str], class_weight: ClassWeight
) -> tuple[NDArray[np.int64], Array, tuple[str, ...]]:
    """Indices, weights and names of the classes that have frames. Raises `DataError` if there are fewer than two."""
    seen = np.flatnonzero(totals)
    if len(seen) < 2:
        raise DataError(f"a probe needs frames of at least two classes; there are {len(seen)}")
    return seen, class_weights(totals[seen], class_weight), tuple(classes[i] for i in seen.tolist())


def train_rows(
    table: ClassTable, codebook: NDArray[Any], class_weight: ClassWeight
) -> tuple[Array, Array, Array, Array, tuple[str, ...]]:
    """Standardised rows [codes in use, dims], soft targets [codes in use, classes], mean, scale and classes.

    The frames of a code share one row, so their loss terms add up. Raises `DataError` as `seen_classes`.
    """
    seen, weights, names = seen_classes(table.counts.sum(axis=0), table.classes, class_weight)
    used = table.frames > 0
    counts, rows = table.counts[used][:, seen], codebook[used]
    mean, scale = standardisation(rows, counts.sum(axis=1))
    return (rows - mean) / scale, counts * weights, mean, scale, names


def fit_probe(
    table: ClassTable,
    codebook: NDArray[Any],
    *,
    C: float = 1.0,
    class_weight: ClassWeight = "balanced",
    max_iter: int = 1000,
    tolerance: float = 1e-6,
) -> Probe:
    """Multinomial logistic regression on the frames behind `table`; `codebook` is [codes, dims], or a torch tensor.

    Classes without a frame are left out of `Probe.classes`. With two classes the objective is scikit-learn's binary
    one, written as a symmetric softmax. Raises `DataError` if fewer than two classes have frames.
    """
    from scipy.linalg import svd

    rows, targets, mean, scale, classes = train_rows(table, np.asarray(codebook), class_weight)
    mass = targets.sum(axis=1)
    centre = mass @ rows / mass.sum()
    weighted = np.sqrt(mass)[:, None] * (rows - centre)
    _, spread, right = svd(weighted, full_matrices=False)
    rank = int((spread > _rounding(spread, weighted)).sum())
    axes, spread = right[:rank].T, spread[:rank]
    features = np.column_stack([(rows - centre) @ axes, np.ones(len(rows))])

    def data(beta: Array) -> tuple[float, Array]:
        logits = features @ beta
        logits -= logits.max(axis=1, keepdims=True)  # so that exp cannot overflow
        odds = np.exp(logits)
        total = odds.sum(axis=1)
        loss = mass @ np.log(total) - np.vdot(targets, logits)
        return loss, features.T @ (odds * (mass / total)[:, None] - targets)

    problem = Problem(data, axes, spread, centre, mass.sum(), mean, scale, classes)
    return minimise(problem, C, max_iter, tolerance)


class Problem(NamedTuple):
    """The data term of a softmax regression, in coordinates along the principal axes of its vectors.

    The penalty is rotation-invariant and the intercept free of it, so standardised vectors are centred under the target
    weights and turned to their principal axes, where directions that no vector has drop out. `data` takes coefficients
    [rank + 1, classes], the last of them intercepts, and gives the loss and its gradient, of the same shape.
    """

    data: Callable[[Array], tuple[float, Array]]
    axes: Array  # [dims, rank]
    spread: Array  # square root of the weighted sum of squares along each axis, [rank]
    centre: Array  # [dims]
    mass: float  # total weight
    mean: Array
    scale: Array
    classes: tuple[str, ...]


def minimise(problem: Problem, C: float, max_iter: int, tolerance: float) -> Probe:
    """L-BFGS in the coordinates in which the objective's curvature at uniform predictions is the identity.

    The curvature of axis i is C * s_i^2 * p (1 - p) + penalty with p = 1 / classes. Without this L-BFGS needs ten times
    the iterations.
    """
    from scipy.optimize import minimize

    spread, mass, classes = problem.spread, problem.mass, len(problem.classes)
    # symmetric two-class weights (w/2, -w/2) have half the squared norm of the binary w
    penalty = np.append(np.full(len(spread), 2.0 if classes == 2 else 1.0), 0.0)[:, None]
    curvature = C * np.append(spread**2, mass)[:, None] * (classes - 1) / classes**2 + penalty
    unit = C * mass * np.log(classes)  # the objective at zero: in this unit one tolerance suits any number of frames
    step = np.repeat(np.sqrt(unit / curvature), classes, axis=1)

    def objective(point: Array) -> tuple[float, Array]:
        beta = step * point.reshape(step.shape)
        loss, slope = problem.data(beta)
        gradient = C * slope + penalty * beta
        return (C * loss + 0.5 * np.vdot(beta, penalty * beta)) / unit, (step * gradient).ravel() / unit

    result = minimize(
        objective,
        np.zeros(step.size),
        args=(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "maxfun": 2 * max_iter + 20, "gtol": tolerance, "ftol": 0.0, "maxcor": 20},
    )
    beta = step * result.x.reshape(step.shape)
    weight = problem.axes @ beta[:-1]
    # the intercepts of the centred coordinates, brought back; softmax leaves their common part free
    bias = beta[-1] - problem.centre @ weight
    bias -= bias.mean()
    converged, total = bool(np.abs(result.jac).max() <= tolerance), float(result.fun * unit)
    return Probe(weight.T, bias, problem.mean, problem.scale, problem.classes, total, converged, int(result.nit))


def _rounding(spread: Array, matrix: Array) -> float:
    """Singular values up to this are rounding errors: NumPy's rule for the rank of a matrix."""
    return spread[0] * max(matrix.shape) * np.finfo(np.float64).eps


def fit_ridge(table: ValueTable, codebook: NDArray[Any], *, alpha: float = 0.0) -> Probe:
    """Least squares on the frames behind `table` with penalty `alpha * ||w||^2`; `codebook` is [codes, dims].

    With `alpha` 0 and rows that do not determine the weights, the solution of smallest norm. Raises `DataError` if
    the table is empty.
    """
    from scipy.linalg import svd

    codebook, used = np.asarray(codebook), table.count > 0
    if not used.any():
        raise DataError("a regression needs at least one frame, and has none")
    count = table.count[used]
    mean, scale = standardisation(codebook[used], count)
    # a frame-weighted fit of the code means is the fit of the frames
    root = np.sqrt(count)
    design = root[:, None] * ((codebook[used] - mean) / scale)
    target = root * (table.total[used] / count - table.mean)
    left, spread, right = svd(design, full_matrices=False)
    keep = spread > _rounding(spread, design)
    weight = right[keep].T @ (spread[keep] / (spread[keep] ** 2 + alpha) * (left[:, keep].T @ target))
    # spread inside codes, which no row explains
    within = table.squares[used].sum() - (table.total[used] ** 2 / count).sum()
    objective = within + ((target - design @ weight) ** 2).sum() + alpha * weight @ weight
    return Probe(weight[None], np.array([table.mean]), mean, scale, (), float(objective), True, 1)
