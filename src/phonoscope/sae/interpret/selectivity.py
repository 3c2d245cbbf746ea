"""Selectivity of features for phones: the area under the ROC curve (AUROC)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

    from phonoscope.sae.interpret.groups import Groups, Labels


def auroc(activations: sp.csr_array, groups: Groups) -> NDArray[np.float64]:
    """Area under the ROC curve of every feature for every group against the rows of the other groups.

    Exact, from ranks (the Mann-Whitney statistic; ties count half). Only active frames are ranked: the zeros of a
    feature are one tie below them. Rows in no group take no part.

    Args:
        activations: [rows, features], not negative.
        groups: one group a row (a frame, or a phone segment by its highest activation).
    Returns: [features, groups], 0.5 where a group has no rows or all.
    """
    taken = groups.code >= 0
    columns, code = activations[taken].tocsc(), groups.code[taken]
    columns.eliminate_zeros()
    features, count = columns.shape[1], len(groups.names)
    size, total = groups.count, len(code)
    active = np.diff(columns.indptr)
    ranks = np.empty(columns.nnz)
    for first, last in pairwise(columns.indptr):
        ranks[first:last] = rankdata(columns.data[first:last]) + (total - (last - first))
    cell = np.repeat(np.arange(features), active) * count + code[columns.indices]
    rank_sum = np.bincount(cell, ranks, minlength=features * count).astype(np.float64).reshape(features, count)
    fired = np.bincount(cell, minlength=features * count).reshape(features, count)
    rank_sum += (size - fired) * ((total - active) + 1)[:, None] / 2
    pairs = size * (total - size)
    area = np.full((features, count), 0.5)
    np.divide(rank_sum - size * (size + 1) / 2, pairs, out=area, where=np.broadcast_to(pairs > 0, area.shape))
    return area


@dataclass(frozen=True)
class Selectivity:
    """Areas of every feature and phone, [features, phones], and counts of the phones, on train and on eval."""

    phones: tuple[str, ...]
    train: NDArray[np.float64]
    evaluation: NDArray[np.float64]
    train_count: NDArray[np.int64]
    eval_count: NDArray[np.int64]
    fewest: int

    @property
    def choosable(self) -> NDArray[np.bool_]:
        """Phones that occur often enough on train, [phones]."""
        return self.train_count >= self.fewest

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Phones that occur often enough on both sides, [phones]."""
        return self.choosable & (self.eval_count >= self.fewest)

    def best_phones(self) -> NDArray[np.int64]:
        """Scored phone with the highest area on train of every feature, [features]; -1 if it fires on none."""
        if not self.scored.any():
            return np.full(len(self.train), -1)
        areas = np.where(self.scored, self.train, -np.inf)
        return np.where((self.train[:, self.scored] != 0.5).any(axis=1), areas.argmax(axis=1), -1)

    def detectors(self) -> NDArray[np.int64]:
        """Feature with the highest area on train for every phone, [phones]; -1 for phones that are too rare."""
        return np.where(self.choosable, self.train.argmax(axis=0), -1)


def selectivity(activations: sp.csr_array, phones: Groups, train: NDArray[np.bool_], *, fewest: int) -> Selectivity:
    """Areas on the rows of train, and on those of eval. `train` [rows]."""
    sides = [(activations[side], phones.of(side)) for side in (train, ~train)]
    areas = [auroc(rows, groups) for rows, groups in sides]
    return Selectivity(phones.names, areas[0], areas[1], sides[0][1].count, sides[1][1].count, fewest)


def precision_at_k(windows: pd.DataFrame, phone_of_row: Labels, best: Labels) -> NDArray[np.float64]:
    """Share of every feature's windows whose highest frame carries phone `best[feature]`, [features]; 0 without any."""
    hit = phone_of_row[windows["row"].to_numpy()] == best[windows["feature"].to_numpy()]
    total = np.bincount(windows["feature"], minlength=len(best))
    return np.bincount(windows["feature"], weights=hit, minlength=len(best)) / np.maximum(total, 1)


def feature_columns(areas: Selectivity) -> pd.DataFrame:
    """Per feature: best phone (chosen on train), its area on train and eval, its count on eval, detected phones."""
    best = areas.best_phones()
    there, rows = best >= 0, np.arange(len(best))
    names = np.array([*areas.phones, ""], dtype=object)
    detects: dict[int, list[str]] = {}
    for phone, feature in zip(np.array(areas.phones)[areas.scored], areas.detectors()[areas.scored], strict=True):
        detects.setdefault(int(feature), []).append(phone)
    if not areas.phones:
        return pd.DataFrame(
            {"best_phone": "", "auroc_train": 0.5, "auroc": 0.5, "eval_segments": 0, "detects": ""}, rows
        )
    return pd.DataFrame(
        {
            "best_phone": names[best],
            "auroc_train": np.where(there, areas.train[rows, best], 0.5),
            "auroc": np.where(there, areas.evaluation[rows, best], 0.5),
            "eval_segments": np.where(there, areas.eval_count[best], 0).astype(np.int32),
            "detects": [" ".join(detects.get(int(row), [])) for row in rows],
        }
    )


def phone_table(areas: Selectivity, precision: NDArray[np.float64], density: NDArray[np.float64]) -> pd.DataFrame:
    """One row a phone: its best detector, chosen on train, with its area on eval; the best first.

    Args:
        precision: [phones], of the phone's detector.
        density: [features].
    """
    detector = areas.detectors()
    there, phones = detector >= 0, np.arange(len(areas.phones))
    table = pd.DataFrame(
        {
            "phone": np.array(areas.phones, dtype=object),
            "feature": detector.astype(np.int32),
            "auroc_train": np.where(there, areas.train[detector, phones], 0.5),
            "auroc": np.where(there, areas.evaluation[detector, phones], 0.5),
            "train_segments": areas.train_count,
            "eval_segments": areas.eval_count,
            "precision": precision,
            "density": np.where(there, density[detector], 0.0),
            "scored": areas.scored,
        }
    )
    return table.sort_values(["auroc", "phone"], ascending=[False, True], ignore_index=True)
