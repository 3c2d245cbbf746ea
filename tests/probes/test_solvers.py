from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from phonoscope.config.probes import ClassWeight
from phonoscope.errors import DataError
from phonoscope.probes.solvers import class_weights, fit_probe, fit_ridge
from phonoscope.probes.tables import Array, ClassTable, ValueTable

from .planted import expand, make_table


def trained_like(size: int, dims: int, seed: int) -> NDArray[np.float32]:
    """Rows as k-means finds them: correlated, with a falling spectrum and an offset."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(size, dims)) * np.arange(1, dims + 1) ** -1.0
    return (rows @ np.linalg.qr(rng.normal(size=(dims, dims)))[0] + 0.3).astype(np.float32)


def objective_of(coef: Array, bias: Array, scaled: Array, label: NDArray[np.int64], C: float, weight: Array) -> float:
    """scikit-learn's objective on frames, written out."""
    logits = scaled @ coef.T + bias
    if len(bias) == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    loss = -log_softmax(logits, axis=1)[np.arange(len(label)), label]
    return float(C * weight[label] @ loss + 0.5 * np.sum(coef**2))


@pytest.mark.parametrize(
    ("size", "dims", "classes", "frames", "geometry", "own", "C", "class_weight"),
    [
        pytest.param(64, 16, 5, 3_000, 1.0, 1.0, 1.0, "balanced", id="small"),
        pytest.param(64, 16, 5, 3_000, 1.0, 1.0, 0.01, "none", id="strong-penalty"),
        pytest.param(256, 8, 13, 8_000, 0.5, 0.5, 1.0, "balanced", id="dac-speaker"),
        pytest.param(128, 16, 39, 5_000, 2.0, 0.5, 1.0, "none", id="phone-unweighted"),
        pytest.param(32, 48, 6, 2_000, 1.0, 1.0, 0.1, "balanced", id="more-dims-than-codes"),
        pytest.param(64, 8, 2, 2_000, 1.0, 1.0, 1.0, "balanced", id="binary"),
        pytest.param(64, 8, 2, 2_000, 1.0, 1.0, 0.05, "none", id="binary-unweighted"),
    ],
)  # fmt: skip
def test_table_probe_equals_scikit_learn_on_the_frames(
    size: int, dims: int, classes: int, frames: int, geometry: float, own: float, C: float, class_weight: ClassWeight
) -> None:
    codebook = trained_like(size, dims, seed=1)
    table = make_table(size, classes, frames, codebook, geometry=geometry, own=own, seed=2)
    probe = fit_probe(table, codebook, C=C, class_weight=class_weight, tolerance=1e-7)
    codes, names = expand(table)
    scaled = StandardScaler().fit_transform(codebook[codes].astype(np.float64))
    weighting = None if class_weight == "none" else class_weight
    reference = LogisticRegression(C=C, class_weight=weighting, tol=1e-8, max_iter=20_000).fit(scaled, names)
    assert probe.converged
    assert reference.n_iter_.max() < 20_000
    assert probe.classes == tuple(reference.classes_)

    label = np.searchsorted(reference.classes_, names)
    weight = class_weights(np.bincount(label), class_weight)
    theirs = objective_of(reference.coef_, reference.intercept_, scaled, label, C, weight)
    assert probe.objective == pytest.approx(theirs, rel=1e-6)
    if classes > 2:  # the stored objective is the one of the stored weights
        ours = objective_of(probe.weight, probe.bias, scaled, label, C, weight)
        assert probe.objective == pytest.approx(ours, rel=1e-9)
    predicted = np.array(probe.classes)[probe.predict(codebook)[codes]]
    assert np.mean(predicted == reference.predict(scaled)) > 0.999


@pytest.mark.filterwarnings("error")
def test_codes_without_frames_and_badly_scaled_or_dead_dimensions_change_nothing() -> None:
    codebook = trained_like(64, 8, seed=6)
    table = make_table(64, 5, 3_000, codebook, geometry=1.0, own=0.5, seed=7)
    plain = fit_probe(table, codebook, tolerance=1e-8)
    stretched = (codebook * 10.0 ** np.arange(-4, 4)).astype(np.float64)
    padded = np.hstack([np.vstack([stretched, np.full((3, 8), 1e9)]), np.full((67, 1), 0.7)])
    counts = np.vstack([table.counts, np.zeros((3, 5), dtype=np.int64)])
    probe = fit_probe(ClassTable(table.classes, counts), padded, tolerance=1e-8)
    assert probe.objective == pytest.approx(plain.objective, rel=1e-9)
    np.testing.assert_allclose(probe.weight[:, :8], plain.weight, atol=1e-3)
    np.testing.assert_allclose(probe.weight[:, 8], 0, atol=1e-9)
    np.testing.assert_array_equal(probe.predict(padded)[:64], plain.predict(codebook))


def test_one_code_or_equal_rows_leave_the_class_shares() -> None:
    table = ClassTable(("a", "b", "c"), np.array([[8, 1, 1], [0, 0, 0]]))
    probe = fit_probe(table, np.array([[1.0, 2.0], [3.0, 5.0]]), class_weight="none", tolerance=1e-9)
    logits = probe.outputs(np.array([[1.0, 2.0]]))
    np.testing.assert_allclose(np.exp(log_softmax(logits, axis=1))[0], [0.8, 0.1, 0.1], atol=1e-6)


def test_a_single_class_and_no_frames_are_refused() -> None:
    with pytest.raises(DataError, match="two classes; there are 1"):
        fit_probe(ClassTable(("a", "b"), np.array([[3, 0], [2, 0]])), np.eye(2))
    with pytest.raises(DataError, match="at least one frame"):
        fit_ridge(ValueTable(np.zeros(3, dtype=np.int64), np.zeros(3), np.zeros(3)), np.eye(3))


def value_table(size: int, codebook: NDArray[Any], seed: int) -> tuple[ValueTable, NDArray[np.int64], Array]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(size, size=4_000)
    values = 150 + 40 * codebook[codes, 0] + rng.normal(scale=20, size=size)[codes] + rng.normal(scale=9, size=4_000)
    return ValueTable.from_frames(codes, values, size), codes, values


@pytest.mark.parametrize("alpha", [0.0, 30.0])
def test_ridge_equals_scikit_learn_on_the_frames(alpha: float) -> None:
    codebook = trained_like(64, 10, seed=12)
    table, codes, values = value_table(64, codebook, seed=13)
    probe = fit_ridge(table, codebook, alpha=alpha)
    scaled = StandardScaler().fit_transform(codebook[codes].astype(np.float64))
    reference = (Ridge(alpha=alpha) if alpha else LinearRegression()).fit(scaled, values)
    np.testing.assert_allclose(probe.weight[0], reference.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(probe.bias[0], reference.intercept_, rtol=1e-9)
    residual = values - reference.predict(scaled)
    assert probe.objective == pytest.approx(residual @ residual + alpha * reference.coef_ @ reference.coef_, rel=1e-9)
    np.testing.assert_allclose(probe.predict(codebook)[codes], reference.predict(scaled), rtol=1e-9)


def test_least_squares_of_dependent_rows_has_the_smallest_norm() -> None:
    codebook = trained_like(40, 5, seed=14)
    doubled = np.hstack([codebook, codebook])
    table, _, _ = value_table(40, codebook, seed=15)
    single, double = fit_ridge(table, codebook), fit_ridge(table, doubled)
    np.testing.assert_allclose(double.weight[0], np.tile(single.weight[0] / 2, 2), rtol=1e-5)
    np.testing.assert_allclose(double.predict(doubled), single.predict(codebook), rtol=1e-7)
