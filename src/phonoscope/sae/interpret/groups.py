"""Groups of frames with one label, and mean activations over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

if TYPE_CHECKING:
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

    def of(self, rows: NDArray[np.bool_]) -> Groups:
        """The same groups over some of the rows."""
        return Groups(self.code[rows], self.names)


def group(labels: Sequence[str] | pd.Series, *, leave_out: Sequence[str] = ("",), most: int | None = None) -> Groups:
    """Code labels as groups. Labels in `leave_out` are in no group, and so are all but the `most` frequent."""
    column = pd.Series(labels).astype("category")
    counts = column.value_counts()
    kept = [str(name) for name in counts.index if name not in leave_out and counts[name] > 0]
    names = sorted(sorted(kept, key=lambda name: (-counts[name], name))[:most])
    lookup = np.full(len(column.cat.categories) + 1, -1, dtype=np.int64)  # the last entry serves code -1: no label
    position = {name: index for index, name in enumerate(names)}
    lookup[:-1] = [position.get(str(name), -1) for name in column.cat.categories]
    return Groups(lookup[column.cat.codes.to_numpy()], tuple(names))


def indicator(groups: Groups) -> sp.csr_array:
    """One-hot rows [groups, frames]."""
    (rows,) = np.nonzero(groups.code >= 0)
    entries = np.ones(len(rows), dtype=np.float32)
    return sp.csr_array((entries, (groups.code[rows], rows)), shape=(len(groups.names), len(groups.code)))


def group_means(activations: sp.csr_array, groups: Groups) -> NDArray[np.float64]:
    """Mean activation of every feature over the frames of every group, [groups, features]; zeros count."""
    totals = (indicator(groups).astype(np.float64) @ activations).toarray()
    return totals / np.maximum(groups.count, 1)[:, None]


def means_table(activations: sp.csr_array, kinds: dict[str, Groups]) -> pd.DataFrame:
    """Mean activations as a tidy table: kind, group, feature, mean, frames."""
    tables = []
    for kind, groups in kinds.items():
        means = group_means(activations, groups)
        count, width = means.shape
        tables.append(
            pd.DataFrame(
                {
                    "kind": kind,
                    "group": np.repeat(np.array(groups.names, dtype=object), width),
                    "feature": np.tile(np.arange(width, dtype=np.int32), count),
                    "mean": means.ravel().astype(np.float32),
                    "frames": np.repeat(groups.count, width),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
