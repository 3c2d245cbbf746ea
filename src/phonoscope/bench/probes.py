"""A probe fitted to a table against scikit-learn on the frames behind it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phonoscope.bench.measure import measure
from phonoscope.bench.speech import SpeechLayer
from phonoscope.errors import CheckFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.probes import ClassTable

TOLERANCE = 1e-6
"""Where a fit stops, no component of the gradient of scikit-learn's mean loss exceeds this."""
MAX_ITER = 10_000


class Frames(NamedTuple):
    """What both sides start from."""

    codebook: NDArray[np.float32]
    """[codes, dims]"""
    codes: NDArray[np.int16]
    """[n]"""
    labels: NDArray[np.int16]
    """[n]"""
    classes: int

    def table(self) -> ClassTable:
        """Frames by code and label."""
        from phonoscope.probes import ClassTable

        names = [f"{label:04d}" for label in range(self.classes)]
        return ClassTable.from_frames(self.codes, self.labels, names, len(self.codebook))


class Vectors(NamedTuple):
    """The same frames, expanded."""

    scaled: NDArray[np.float64]
    """[n, dims], standardised."""
    labels: NDArray[np.int16]
    """[n]"""


class Fit(NamedTuple):
    """Weights [classes, dims] and biases [classes] on standardised vectors."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def bench_probes(
    *, frames: int = 50_000, dims: int = 128, classes: int = 40, codes: int = 1024, seed: int = 0
) -> dict[str, float]:
    """Time of both sides on the same frames, each in a process of its own, one thread.

    Both fit balanced logistic regression, C = 1, to vectors standardised over the frames, until no component of the
    gradient of the mean loss exceeds `TOLERANCE`. Counting the frames into a table is part of our time; expanding codes
    to standardised vectors is not part of the reference's. `max_objective_gap`: how far our objective lies above the
    reference's, relative to it, at least 0; `agreement`: the share of frames that both put into the same class;
    `peak_mb`: our memory. Raises `CheckFailed` if a side stops before that gradient.
    """
    with TemporaryDirectory(prefix="phonoscope-bench-") as folder:
        file = Path(folder) / "frames.npz"
        layer = SpeechLayer(0, 1, dims=dims, codes=codes, phones=classes, speakers=2, seed=seed)
        made = layer.batch(0, frames)
        np.savez(file, codebook=layer.codebook, codes=made.codes, labels=made.phones, classes=classes)
        ours, reference = measure(fit_table, file, prepare=read), measure(fit_frames, file, prepare=expand)
        judged = Judge(read(file))
    objectives = {
        name: judged.objective(name, side.value) for name, side in (("ours", ours), ("scikit-learn", reference))
    }
    gap = (objectives["ours"] - objectives["scikit-learn"]) / objectives["scikit-learn"]
    return {
        "frames": frames,
        "reference_s": reference.seconds,
        "ours_s": ours.seconds,
        "ratio": reference.seconds / ours.seconds,
        "max_objective_gap": max(0.0, gap),
        "agreement": judged.agreement(ours.value, reference.value),
        "peak_mb": ours.peak_mb,
    }


def read(file: Path) -> Frames:
    """Load the frames, and the modules that our side needs."""
    import scipy.linalg
    import scipy.optimize  # noqa: F401

    from phonoscope.probes import fit_probe  # noqa: F401

    with np.load(file) as arrays:
        return Frames(arrays["codebook"], arrays["codes"], arrays["labels"], int(arrays["classes"]))


def expand(file: Path) -> Vectors:
    """Every frame as its code's vector, standardised over the frames."""
    import sklearn.linear_model  # noqa: F401
    from sklearn.preprocessing import StandardScaler

    frames = read(file)
    return Vectors(StandardScaler().fit_transform(frames.codebook.astype(np.float64)[frames.codes]), frames.labels)


def fit_table(frames: Frames) -> Fit:
    """Count, then fit."""
    from threadpoolctl import threadpool_limits

    from phonoscope.probes import fit_probe

    with threadpool_limits(1):
        probe = fit_probe(frames.table(), frames.codebook, max_iter=MAX_ITER, tolerance=TOLERANCE)
    return Fit(probe.weight, probe.bias)


def fit_frames(vectors: Vectors) -> Fit:
    """scikit-learn on frames."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(C=1.0, class_weight="balanced", tol=TOLERANCE, max_iter=MAX_ITER)
    with threadpool_limits(1):
        model.fit(*vectors)
    return Fit(model.coef_, model.intercept_)


class Judge:
    """Both sides' fits, looked at with the same eyes: on the table, which is exact."""

    def __init__(self, frames: Frames) -> None:
        from phonoscope.probes.solvers import class_weights, standardisation

        counts = frames.table().counts
        self.frames = counts.sum(axis=1)
        mean, scale = standardisation(frames.codebook, self.frames)
        self.rows = (frames.codebook - mean) / scale
        self.targets = counts * class_weights(counts.sum(axis=0), "balanced")

    def objective(self, name: str, fit: Fit) -> float:
        """Weighted loss + half the squared weights. Raises `CheckFailed` if the gradient is above `TOLERANCE`."""
        from scipy.special import log_softmax

        logs = log_softmax(self._logits(fit), axis=1)
        slope = np.exp(logs) * self.targets.sum(axis=1, keepdims=True) - self.targets
        gradient = np.column_stack([slope.T @ self.rows + fit.weight, slope.sum(axis=0)]) / self.targets.sum()
        if np.abs(gradient).max() > TOLERANCE:
            raise CheckFailed(f"{name} stopped at a gradient of {np.abs(gradient).max():.1e}, above {TOLERANCE:.0e}")
        return float(0.5 * np.sum(fit.weight**2) - np.sum(self.targets * logs))

    def agreement(self, one: Fit, other: Fit) -> float:
        same = self._logits(one).argmax(axis=1) == self._logits(other).argmax(axis=1)
        return float(self.frames[same].sum() / self.frames.sum())

    def _logits(self, fit: Fit) -> NDArray[np.float64]:
        return self.rows @ fit.weight.T + fit.bias
