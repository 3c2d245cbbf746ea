"""Groups of frames with one label, and mean activations over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

Labels = NDArray[np.str_] | NDArray[np.object_]
KINDS = ("phone", "word", "speaker", "sex", "accent")


@dataclass(frozen=True)
class Groups:
    """The group of every row, a frame or a segment. `code` [rows] is -1 where it is in none; `names` are sorted."""

    code: NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def count(self) -> NDArray[np.int64]:
        """Rows in each group, [groups]."""
        return np.bincount(self.code[self.code >= 0], minlength=len(self.names))

    def of(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Groups:
        """The same groups over some of the rows."""
        return Groups(self.code[rows], self.names)


def group(labels: Sequence[str] | pd.Series, *, leave_out: Sequence[str] = ("",), most: int | None = None) -> Groups:
    """Code labels as groups. Labels in `leave_out` are in no group, and so are all but the `most` frequent."""
    column = pd.Series(labels)
    counts = {str(name): count for name, count in column.value_counts().items() if count and name not in leave_out}
    names = sorted(sorted(counts, key=lambda name: (-counts[name], name))[:most])
    index = pd.Index(names, dtype=object).get_indexer(pd.Index(column.astype(object)))
    return Groups(index.astype(np.int64), tuple(names))


def group_means(activations: sp.csr_array, groups: Groups) -> NDArray[np.float64]:
    """Mean activation of every feature over the frames of every group, [groups, features]; zeros count."""
    rows = np.flatnonzero(groups.code >= 0)
    shape = (len(groups.names), len(groups.code))
    # a product with one-hot rows in float64: sums of float32 lose digits over hundreds of thousands of frames
    member = sp.csr_array((np.ones(len(rows)), (groups.code[rows], rows)), shape=shape)
    return (member @ activations).toarray() / np.maximum(groups.count, 1)[:, None]


def means_table(activations: sp.csr_array, kinds: dict[str, Groups]) -> pd.DataFrame:
    """Mean activations as a tidy table: kind, group, feature, mean, frames."""
    tables = []
    for kind, groups in kinds.items():
        means = group_means(activations, groups)
        count, width = means.shape
        columns = {
            "kind": kind,
            "group": np.repeat(np.array(groups.names, dtype=object), width),
            "feature": np.tile(np.arange(width, dtype=np.int32), count),
            "mean": means.ravel().astype(np.float32),
            "frames": np.repeat(groups.count, width),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
