"""How well phones are detected without the sparse autoencoder, chosen and scored in the same way on the same segments.

A representation's detector of a phone is its column with the highest AUROC on train segments; it is reported on eval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phonoscope.compute import derive_seed
from phonoscope.data.phones import SILENCE
from phonoscope.sae.interpret.groups import Groups, group
from phonoscope.sae.interpret.selectivity import Selectivity, selectivity
from phonoscope.sae.interpret.windows import segment_maxima, segment_starts
from phonoscope.stats import weighted_pca

HIGH_AUROC = 0.9
SPARSITIES = (1, 2, 5, 16)  # columns that a sparse probe reads
BASELINE_COLUMNS = ("representation", "dims", "phones_scored", "phones_above", "mean_auroc")
SPARSE_COLUMNS = ("representation", "phones", "k", "mean_auroc")
BLOCK = 256  # columns ranked at once
PROBE_FRAMES = 8_000  # frames that the linear probe is fitted on: more change its areas little, and take minutes
Values = NDArray[np.float32]
Columns = Callable[[slice], Values]  # some columns of a representation, transposed: [columns, frames]


@dataclass(frozen=True)
class Segments:
    """The phone segments of a site's frames."""

    starts: NDArray[np.int64]  # first frame of each
    phones: Groups
    train: NDArray[np.bool_]
    fewest: int  # rarer phones are not scored

    @classmethod
    def of(cls, index: pd.DataFrame, *, fewest: int, silence: bool = False) -> Segments:
        """Segments of frames with the columns utterance, frame, phone and split."""
        starts = segment_starts(index)
        phones = group(index["phone"], leave_out=("",) if silence else ("", SILENCE))
        return cls(starts, phones.of(starts), (index["split"] == "train").to_numpy()[starts], fewest)

    def areas(self, peaks: sp.csr_array | NDArray[np.float32]) -> Selectivity:
        return selectivity(peaks, self.phones, self.train, fewest=self.fewest)


@dataclass(frozen=True)
class Scored:
    """A representation's areas, and some columns of its segments' scores."""

    dims: int
    areas: Selectivity
    peaks: Callable[[NDArray[np.int64]], NDArray[np.floating]]  # [columns] to [segments, columns]

    def row(self) -> dict[str, Any]:
        """Dimensions, scored phones, those with a detector of AUROC above 0.9 on eval, and the mean AUROC."""
        scored = self.areas.scored
        best = self.areas.evaluation[self.areas.detectors(), np.arange(len(scored))][scored]
        above, mean = int((best > HIGH_AUROC).sum()), float(best.mean()) if len(best) else np.nan
        return {"dims": self.dims, "phones_scored": len(best), "phones_above": above, "mean_auroc": mean}


def of_features(activations: sp.csr_array, segments: Segments) -> Scored:
    """A sparse autoencoder's features, [frames, features]."""
    peaks = segment_maxima(activations, segments.starts).tocsc()
    return Scored(peaks.shape[1], segments.areas(peaks.tocsr()), lambda columns: peaks[:, columns].toarray())


def of_columns(columns: Columns, dims: int, segments: Segments, *, signed: bool) -> Scored:
    """Dense columns; `signed` adds those of the other sign, so that a direction may also speak by low values."""
    parts = list(_blocks(columns, dims, segments, signed))
    first = parts[0]
    train, evaluation = (np.concatenate([getattr(part, side) for part in parts]) for side in ("train", "evaluation"))
    areas = Selectivity(first.phones, train, evaluation, first.train_count, first.eval_count, first.fewest)

    def peaks(chosen: NDArray[np.int64]) -> NDArray[np.floating]:
        return np.concatenate([_peaks(columns, segments, column // dims, column % dims, 1) for column in chosen]).T

    return Scored(dims, areas, peaks)


def _blocks(columns: Columns, dims: int, segments: Segments, signed: bool) -> Iterator[Selectivity]:
    for flipped in (False, True)[: 1 + signed]:
        for start in range(0, dims, BLOCK):
            yield segments.areas(_peaks(columns, segments, flipped, start, min(BLOCK, dims - start)).T)


def _peaks(columns: Columns, segments: Segments, flipped: bool, start: int, count: int) -> Values:
    """Highest values of columns within every segment, [columns, segments]; `flipped` ones with the other sign."""
    values = columns(slice(start, start + count))
    return np.maximum.reduceat(-values if flipped else values, segments.starts, axis=1)


def baselines(
    inputs: NDArray[Any],
    fired: dict[str, sp.csr_array],
    index: pd.DataFrame,
    *,
    fewest: int,
    seed: int,
    silence: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Phones told by the autoencoder and by what it has to beat, and by sparse probes of it and of the raw dimensions.

    Args:
        inputs: the model's inputs, [frames, d_in], of any float type.
        fired: activations [frames, features] by the name of their model; the first is the one that is judged, the
            others, such as an untrained one, are scored alike.
        index: a row a frame with the columns utterance, frame, phone and split.
        fewest: segments that a phone needs on train and on eval.
        seed: of the random directions and the frames of the linear probe.
    Returns:
        Columns representation, dims, phones_scored, phones_above, mean_auroc; and representation, phones, k,
        mean_auroc. Without a phone that is frequent enough both are empty.
    """
    segments = Segments.of(index, fewest=fewest, silence=silence)
    values, train = np.asarray(inputs, dtype=np.float32), (index["split"] == "train").to_numpy()
    scored = {name: of_features(activations, segments) for name, activations in fired.items()}
    judged = next(iter(scored))
    if not scored[judged].areas.scored.any():
        return pd.DataFrame(columns=list(BASELINE_COLUMNS)), pd.DataFrame(columns=list(SPARSE_COLUMNS))
    width, count = values.shape[1], scored[judged].dims
    by_column = np.ascontiguousarray(values.T)
    scored["raw dimensions"] = raw = of_columns(lambda part: by_column[part], width, segments, signed=True)
    rotate, turn = _components(values, train), _directions(values, train, count, seed)
    scored["principal components"] = of_columns(rotate, width, segments, signed=True)
    scored["random directions"] = of_columns(turn, count, segments, signed=False)
    logits = _linear_probe(values, index["phone"].to_numpy(dtype=str), train, segments, seed)
    scored["linear probe"] = of_columns(lambda part: logits[part], len(logits), segments, signed=False)
    table = [{"representation": name, **each.row()} for name, each in scored.items()]
    sparse = [*sparse_probes(judged, scored[judged], segments), *sparse_probes("raw dimensions", raw, segments)]
    return pd.DataFrame(table, columns=list(BASELINE_COLUMNS)), pd.DataFrame(sparse, columns=list(SPARSE_COLUMNS))


def _components(values: Values, train: NDArray[np.bool_]) -> Columns:
    """Principal components of the train frames."""
    mean, axes = weighted_pca(values[train], np.ones(int(train.sum())), values.shape[1])
    return partial(_project, values - mean.astype(np.float32), axes.astype(np.float32), False)


def _directions(values: Values, train: NDArray[np.bool_], count: int, seed: int) -> Columns:
    """Rectified random directions about the train mean: a dictionary of the same size that learned nothing."""
    rng = np.random.default_rng(derive_seed(seed, "directions"))
    axes = rng.standard_normal((values.shape[1], count), dtype=np.float32)
    return partial(_project, values - values[train].mean(axis=0), axes, True)


def _project(centred: Values, axes: Values, rectified: bool, part: slice) -> Values:
    scores: Values = axes[:, part].T @ centred.T
    return np.maximum(scores, 0) if rectified else scores


def _linear_probe(
    values: Values, phone: NDArray[np.str_], train: NDArray[np.bool_], segments: Segments, seed: int
) -> Values:
    """Logits of every frame for every phone, [phones, frames]: one logistic regression a phone, fitted on train."""
    known = np.flatnonzero(train & np.isin(phone, segments.phones.names))
    chosen = np.random.default_rng(derive_seed(seed, "linear probe")).permutation(known)[:PROBE_FRAMES]
    # few iterations: convergence to the last digit moves no rank
    probe = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.1, tol=1e-2, max_iter=100)))
    logits = probe.fit(values[chosen], phone[chosen]).decision_function(values)
    return np.ascontiguousarray(logits.reshape(len(values), -1).T, dtype=np.float32)


def sparse_probes(
    name: str, scored: Scored, segments: Segments, sparsities: Iterable[int] = SPARSITIES
) -> list[dict[str, Any]]:
    """k-sparse probing (Gurnee et al. 2023, 2305.01610): a logistic regression on the k best columns of each phone.

    The columns are ranked by AUROC on train. Returns: representation, k, phones, mean_auroc (on eval), a row a k.
    """
    sparsities, areas, there = tuple(sparsities), scored.areas, segments.phones.code >= 0
    fit_on, test_on = there & segments.train, there & ~segments.train
    values: dict[int, list[float]] = {k: [] for k in sparsities}
    for phone in np.flatnonzero(areas.scored):
        # both signs of a column are one column to a regression, and the better one ranks first
        best = np.argsort(-areas.train[:, phone], kind="stable")[: max(sparsities)]
        peaks, positive = scored.peaks(best), segments.phones.code == phone
        peaks = peaks / np.maximum(peaks[fit_on].std(axis=0), 1e-6)
        for k in sparsities:
            probe = LogisticRegression(class_weight="balanced").fit(peaks[fit_on, :k], positive[fit_on])
            logits = probe.decision_function(peaks[test_on, :k])
            values[k].append(float(roc_auc_score(positive[test_on], logits)))
    shared = {"representation": name, "phones": int(areas.scored.sum())}
    return [{**shared, "k": k, "mean_auroc": float(np.mean(rows))} for k, rows in values.items()]
