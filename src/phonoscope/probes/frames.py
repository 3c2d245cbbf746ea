"""Probes on explicit frames, for inputs that are not finite tables (sums of layers, latents, Whisper features)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.probes.model import Probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.probes.config import ClassWeight


def fit_probe_frames(
    vectors: NDArray[Any],
    labels: NDArray[Any],
    *,
    C: float = 1.0,
    class_weight: ClassWeight = "balanced",
    max_iter: int = 1000,
    tolerance: float = 1e-6,
) -> Probe:
    """scikit-learn's `LogisticRegression` on standardised frames, as a `Probe`.

    `vectors` is [n, dims], `labels` [n] of strings. `tolerance` bounds the gradient of the mean loss.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(vectors.astype(np.float64))
    weighting = None if class_weight == "none" else class_weight
    model = LogisticRegression(C=C, class_weight=weighting, max_iter=max_iter, tol=tolerance)
    scaled = scaler.transform(vectors.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # reported as `converged`
        model.fit(scaled, labels)
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        weight, bias = np.vstack([-weight, weight]) / 2, np.append(-bias, bias) / 2
    iterations = int(model.n_iter_.max())
    objective = _objective(scaled, np.searchsorted(model.classes_, labels), weight, bias, C, class_weight)
    classes = tuple(str(name) for name in model.classes_)
    return Probe(weight, bias, scaler.mean_, scaler.scale_, classes, objective, iterations < max_iter, iterations)


def _objective(
    scaled: NDArray[np.float64],
    index: NDArray[np.integer],
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    C: float,
    class_weight: ClassWeight,
) -> float:
    from scipy.special import log_softmax

    from phonoscope.probes.solvers import class_weights

    loss = -log_softmax(scaled @ weight.T + bias, axis=1)[np.arange(len(index)), index]
    weights = class_weights(np.bincount(index), class_weight)[index]
    return float(C * weights @ loss + (1.0 if len(bias) == 2 else 0.5) * np.sum(weight**2))


def fit_ridge_frames(vectors: NDArray[Any], values: NDArray[Any], *, alpha: float = 0.0) -> Probe:
    """scikit-learn's `Ridge` (`LinearRegression` if `alpha` is 0) on standardised frames [n, dims], as a `Probe`."""
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(vectors.astype(np.float64))
    scaled = scaler.transform(vectors.astype(np.float64))
    model = (Ridge(alpha=alpha) if alpha else LinearRegression()).fit(scaled, values.astype(np.float64))
    residual = values - model.predict(scaled)
    objective = float(residual @ residual + alpha * model.coef_ @ model.coef_)
    bias = np.array([float(model.intercept_)])
    return Probe(model.coef_[None], bias, scaler.mean_, scaler.scale_, (), objective, True, 1)
