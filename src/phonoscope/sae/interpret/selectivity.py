"""Selectivity of features for phones: the area under the ROC curve (AUROC), and the precision of top windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import rankdata

from phonoscope.sae.interpret.groups import Groups, Labels


def auroc(activations: sp.csr_array | NDArray[np.floating], groups: Groups) -> NDArray[np.float64]:
    """Area under the ROC curve of every feature for every group against the rows of the other groups.

    Exact, from ranks (the Mann-Whitney statistic; ties count half). activations: [rows, features], sparse ones not
    negative. Rows, frames or phone segments, in no group take no part. Returns: [features, groups], 0.5 where a group
    has none or all.
    """
    taken = groups.code >= 0
    values, code, size = activations[taken], groups.code[taken], groups.count
    if isinstance(values, np.ndarray):
        rank_sum = _dense_rank_sums(values, code, size)
    else:
        rank_sum = _sparse_rank_sums(values, code, size)
    # less the smallest sum that n rows can have, n (n + 1) / 2, a rank sum counts the pairs won against other groups
    pairs = size * (len(code) - size)
    area = np.full(rank_sum.shape, 0.5)
    np.divide(rank_sum - size * (size + 1) / 2, pairs, out=area, where=np.broadcast_to(pairs > 0, area.shape))
    return area


def _sparse_rank_sums(values: Any, code: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the ranks of each group's rows by feature, [features, groups]; `size` is the groups' number of rows."""
    columns = values.tocsc()
    columns.eliminate_zeros()
    features, count, total, active = columns.shape[1], len(size), len(code), np.diff(columns.indptr)
    # only active rows are ranked: the zeros, nearly all rows of a feature, are one tie below them
    ranks = np.empty(columns.nnz)
    for first, last in pairwise(columns.indptr):
        ranks[first:last] = rankdata(columns.data[first:last]) + (total - (last - first))
    cell = np.repeat(np.arange(features), active) * count + code[columns.indices]
    rank_sum = np.bincount(cell, ranks, minlength=features * count).astype(np.float64).reshape(features, count)
    fired = np.bincount(cell, minlength=features * count).reshape(features, count)
    # z zeros hold the ranks 1 ... z, and share their mean, (z + 1) / 2
    rank_sum += (size - fired) * ((total - active) + 1)[:, None] / 2
    return rank_sum


def _dense_rank_sums(
    values: NDArray[np.floating], code: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.float64]:
    member = sp.csr_array((np.ones(len(code)), (code, np.arange(len(code)))), shape=(len(size), len(code)))
    if not len(code):
        return np.zeros((values.shape[1], len(size)))
    return np.asarray(rankdata(np.ascontiguousarray(values.T), axis=1) @ member.T)


def area_at(areas: NDArray[np.float64], column: NDArray[np.int64]) -> NDArray[np.float64]:
    """One entry of every row, areas[row, column[row]]; 0.5 where the column is -1."""
    return np.pad(areas, ((0, 0), (0, 1)), constant_values=0.5)[np.arange(len(areas)), column]


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


def selectivity(
    activations: sp.csr_array | NDArray[np.floating], phones: Groups, train: NDArray[np.bool_], *, fewest: int
) -> Selectivity:
    """Areas on the rows of train, and on those of eval. `train` [rows]."""
    # apart: the best of thousands of features on few rows is high by chance, so eval alone may be reported
    sides = [(activations[side], phones.of(side)) for side in (train, ~train)]
    areas = [auroc(*side) for side in sides]
    return Selectivity(phones.names, areas[0], areas[1], sides[0][1].count, sides[1][1].count, fewest)


def precision(
    windows: pd.DataFrame, phone_of_row: Labels, features: NDArray[Any], phones: Sequence[str] | Labels
) -> NDArray[np.float64]:
    """Share of each feature's windows whose highest frame carries the phone beside the feature; 0 without windows."""
    carried = pd.Series(phone_of_row[windows["row"].to_numpy()], dtype=object)
    shares = carried.groupby(windows["feature"].to_numpy()).value_counts(normalize=True)
    wanted = pd.MultiIndex.from_arrays([features, np.asarray(phones, dtype=object)])
    return np.asarray(shares.reindex(wanted, fill_value=0.0), dtype=np.float64)


def feature_columns(areas: Selectivity) -> pd.DataFrame:
    """Per feature: best phone (chosen on train), its area on train and eval, its count on eval, detected phones."""
    best, scored = areas.best_phones(), areas.scored
    phones = pd.Series(areas.phones, dtype=object)
    detects = phones[scored].groupby(areas.detectors()[scored]).agg(" ".join)
    columns = {
        "best_phone": np.array([*areas.phones, ""], dtype=object)[best],
        "auroc_train": area_at(areas.train, best),
        "auroc": area_at(areas.evaluation, best),
        "eval_segments": np.append(areas.eval_count, 0)[best].astype(np.int32),
        "detects": detects.reindex(np.arange(len(best)), fill_value="").tolist(),
    }
    return pd.DataFrame(columns)


def phone_table(areas: Selectivity, precisions: NDArray[np.float64], density: NDArray[np.float64]) -> pd.DataFrame:
    """One row a phone: its best detector, chosen on train, with its area on eval; the best first.

    precisions: of each phone's detector, [phones]. density: [features].
    """
    detector = areas.detectors()
    columns = {
        "phone": np.array(areas.phones, dtype=object),
        "feature": detector.astype(np.int32),
        "auroc_train": area_at(areas.train.T, detector),
        "auroc": area_at(areas.evaluation.T, detector),
        "train_segments": areas.train_count,
        "eval_segments": areas.eval_count,
        "precision": precisions,
        "density": np.append(density, 0.0)[detector],
        "scored": areas.scored,
    }
    return pd.DataFrame(columns).sort_values(["auroc", "phone"], ascending=[False, True], ignore_index=True)
