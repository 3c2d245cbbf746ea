"""A probe fitted to a contingency table against scikit-learn on the same frames."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.measure import measure
from benchmarks.speech import SpeechLayer
from phonoscope.errors import CheckFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.probes import ClassTable

TOLERANCE = 1e-6  # largest allowed gradient component of scikit-learn's mean loss at a fit's solution
MAX_ITER = 10_000


class Frames(NamedTuple):
    """Input of both methods."""

    codebook: NDArray[np.float32]  # [codes, dims]
    codes: NDArray[np.int16]  # [n]
    labels: NDArray[np.int16]  # [n]
    classes: int

    def table(self) -> ClassTable:
        """Contingency table: frames by code and label."""
        from phonoscope.probes import ClassTable

        names = [f"{label:04d}" for label in range(self.classes)]
        return ClassTable.from_frames(self.codes, self.labels, names, len(self.codebook))


class Fit(NamedTuple):
    """Weights [classes, dims] and biases [classes] for standardised vectors."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def bench_probes(
    *, frames: int = 50_000, dims: int = 128, classes: int = 40, codes: int = 1024, seed: int = 0
) -> dict[str, float]:
    """Time of both methods on the same frames, each in a separate process with one thread.

    Both fit balanced logistic regression (C = 1) to vectors standardised over the frames, until no component of the
    gradient of the mean loss exceeds `TOLERANCE`. Our time includes counting the frames into a table; the reference's
    time excludes expanding codes to standardised vectors.

    Returns: `max_objective_gap`, (our objective - reference's) / reference's, at least 0; `agreement`, the share of
    frames with the same predicted class; `peak_mb`, our memory; and the times.

    Raises: `CheckFailed` if a method stops at a larger gradient.
    """
    with TemporaryDirectory(prefix="phonoscope-bench-") as folder:
        file = Path(folder) / "frames.npz"
        layer = SpeechLayer(0, 1, dims=dims, codes=codes, phones=classes, speakers=2, seed=seed)
        batch = layer.batch(0, frames)
        np.savez(file, codebook=layer.codebook, codes=batch.codes, labels=batch.phones, classes=classes)
        ours, reference = measure(fit_table, file, prepare=read), measure(fit_frames, file, prepare=expand)
        judge = Judge(read(file))
    lowest = judge.objective("scikit-learn", reference.value)
    gap = (judge.objective("ours", ours.value) - lowest) / lowest
    return {
        "frames": frames,
        "reference_s": reference.seconds,
        "ours_s": ours.seconds,
        "ratio": reference.seconds / ours.seconds,
        "max_objective_gap": max(0.0, gap),
        "agreement": judge.agreement(ours.value, reference.value),
        "peak_mb": ours.peak_mb,
    }


def read(file: Path) -> Frames:
    """Load the frames and the modules that our method needs."""
    import scipy.linalg
    import scipy.optimize  # noqa: F401

    from phonoscope.probes import fit_probe  # noqa: F401

    with np.load(file) as arrays:
        return Frames(arrays["codebook"], arrays["codes"], arrays["labels"], int(arrays["classes"]))


def expand(file: Path) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Code vector of every frame, standardised over the frames, [n, dims], and the labels [n]."""
    import sklearn.linear_model  # noqa: F401
    from sklearn.preprocessing import StandardScaler

    frames = read(file)
    return StandardScaler().fit_transform(frames.codebook.astype(np.float64)[frames.codes]), frames.labels


def fit_table(frames: Frames) -> Fit:
    """Our method: count the frames into a table and fit the probe to it."""
    from phonoscope.compute import limit_threads
    from phonoscope.probes import fit_probe

    with limit_threads():
        probe = fit_probe(frames.table(), frames.codebook, max_iter=MAX_ITER, tolerance=TOLERANCE)
    return Fit(probe.weight, probe.bias)


def fit_frames(expanded: tuple[NDArray[np.float64], NDArray[np.int16]]) -> Fit:
    """The reference: scikit-learn on all frames."""
    from sklearn.linear_model import LogisticRegression

    from phonoscope.compute import limit_threads

    model = LogisticRegression(C=1.0, class_weight="balanced", tol=TOLERANCE, max_iter=MAX_ITER)
    with limit_threads():
        model.fit(*expanded)
    return Fit(model.coef_, model.intercept_)


class Judge:
    """Objective and predictions of a fit, computed from the contingency table, which is exact."""

    def __init__(self, frames: Frames) -> None:
        from phonoscope.probes.solvers import class_weights, standardisation

        counts = frames.table().counts
        self.frames = counts.sum(axis=1)
        mean, scale = standardisation(frames.codebook, self.frames)
        self.rows = (frames.codebook - mean) / scale
        self.targets = counts * class_weights(counts.sum(axis=0), "balanced")

    def objective(self, name: str, fit: Fit) -> float:
        """Weighted loss + squared weights / 2. Raises `CheckFailed` if the gradient exceeds `TOLERANCE`."""
        from scipy.special import log_softmax

        logs = log_softmax(self._logits(fit), axis=1)
        slope = np.exp(logs) * self.targets.sum(axis=1, keepdims=True) - self.targets
        gradient = np.column_stack([slope.T @ self.rows + fit.weight, slope.sum(axis=0)]) / self.targets.sum()
        if np.abs(gradient).max() > TOLERANCE:
            raise CheckFailed(f"{name} stopped at a gradient of {np.abs(gradient).max():.1e}, above {TOLERANCE:.0e}")
        return float(0.5 * np.sum(fit.weight**2) - np.sum(self.targets * logs))

    def agreement(self, one: Fit, other: Fit) -> float:
        """Share of frames for which both fits predict the same class."""
        same = self._logits(one).argmax(axis=1) == self._logits(other).argmax(axis=1)
        return float(self.frames[same].sum() / self.frames.sum())

    def _logits(self, fit: Fit) -> NDArray[np.float64]:
        return self.rows @ fit.weight.T + fit.bias
