"""All codecs' geometry scores in one table, and views of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from phonoscope.errors import DataError
from phonoscope.report.comparison import fixed, with_interval

TEXTS = ("codec", "view", "representation", "same_as", "space", "label", "metric", "against")
NUMBERS = ("dims", "value", "ci_low", "ci_high", "p_value", "n")
LAYER = "layer_"
SCORES = {
    ("silhouette", "word"): "Silhouette by word",
    ("silhouette", "speaker"): "Silhouette by speaker",
    ("silhouette", "sex"): "Silhouette by sex",
    ("map_at_r", "word"): "mAP@R of the word",
    ("nn_accuracy", "word"): "1-NN accuracy of the word",
    ("probe_accuracy", "word"): "Linear probe of the word",
}
"""What is compared over representations and codecs, in the full space; other speakers' clips only in the last three."""


class Score(NamedTuple):
    """One row of the table."""

    value: float
    low: float
    high: float
    p_value: float
    n: int
    dims: int

    @property
    def text(self) -> str:
        """With its interval, where it has one."""
        return fixed(self.value) if pd.isna(self.low) else with_interval(self.value, self.low, self.high)


def combine_geometry(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack the codecs' tables in the given order; empty texts are "", numbers that are not defined NaN.

    Raises `DataError` naming the codec if a column is missing, a row belongs to another codec or stands twice.
    """
    return pd.concat([_checked(codec, table) for codec, table in tables.items()], ignore_index=True)


def _checked(codec: str, table: pd.DataFrame) -> pd.DataFrame:
    where, mend = f"geometry scores of {codec}", f"run `dvc repro geometry@{codec}`"
    missing = [column for column in (*TEXTS, *NUMBERS) if column not in table]
    if missing:
        raise DataError(f"{where}: no column {missing[0]!r}; {mend}")
    table = table[[*TEXTS, *NUMBERS]].astype(dict.fromkeys(NUMBERS, float))
    table[list(TEXTS)] = table[list(TEXTS)].astype(object).fillna("").astype(str)
    others = set(table["codec"]) - {codec}
    if others:
        raise DataError(f"{where}: rows of another codec, {min(others)!r}; {mend}")
    keys = [column for column in TEXTS if column != "same_as"]
    if table.duplicated(keys).any():
        raise DataError(f"{where}: a score stands twice; {mend}")
    return table


def look_up(
    table: pd.DataFrame,
    codec: str,
    view: str,
    representation: str,
    metric: str,
    *,
    label: str = "word",
    space: str = "full",
    against: str = "",
) -> Score | None:
    """One score, None if it is not there."""
    where = {"codec": codec, "view": view, "representation": representation, "metric": metric}
    where |= {"label": label, "space": space, "against": against}
    chosen = table[(table[list(where)] == pd.Series(where)).all(axis=1)]
    if chosen.empty:
        return None
    row = chosen.iloc[0]
    return Score(row["value"], row["ci_low"], row["ci_high"], row["p_value"], int(row["n"]), int(row["dims"]))


def score_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The scores of `SCORES`, for DVC's charts: codec, view, representation, score, value, ci_low, ci_high."""
    keys = pd.Series(list(zip(table["metric"], table["label"], strict=True)), index=table.index, dtype=object)
    chosen = (table["space"] == "full") & (table["against"] == "") & keys.isin(SCORES)
    rows = table.assign(score=keys.map(SCORES))[chosen]
    return rows[["codec", "view", "representation", "score", "value", "ci_low", "ci_high"]].reset_index(drop=True)


def difference_headline(table: pd.DataFrame) -> dict[str, float]:
    """`<codec>.<view>.<metric>_<label>`: projections kept apart minus their sum."""
    rows = table[(table["representation"] == "projections_concat") & (table["against"] == "latent_sum")]
    columns = [rows[column] for column in ("codec", "view", "metric", "label", "value")]
    return {
        f"{codec}.{view}.{metric}_{label}": float(value)
        for codec, view, metric, label, value in zip(*columns, strict=True)
    }


def names(table: pd.DataFrame, column: str) -> list[str]:
    """What stands in a column, in order of appearance."""
    return list(dict.fromkeys(table[column]))


def representations(table: pd.DataFrame, *, layers: bool = False) -> list[str]:
    """Representations in order of appearance: RVQ layers alone, or all but those."""
    return [name for name in names(table, "representation") if name.startswith(LAYER) == layers]


def aliases(table: pd.DataFrame, codec: str) -> dict[str, str]:
    """Representations of a codec that coincide with another one, and with which."""
    own = table[(table["codec"] == codec) & (table["same_as"] != "")]
    return dict(zip(own["representation"], own["same_as"], strict=True))


def markdown_tables(table: pd.DataFrame) -> str:
    """For each view: the scores, then dimensions, rank and explained variance; Markdown."""
    parts = ["# Codec geometry"]
    for view in names(table, "view"):
        parts += [f"## View `{view}`", _scores(table, view), _ranks(table, view)]
    return "\n\n".join(parts) + "\n"


def _scores(table: pd.DataFrame, view: str) -> str:
    keys = [*SCORES, ("davies_bouldin", "word")]
    lines = [["codec", "representation", *SCORES.values(), "Davies-Bouldin by word"]]
    for codec, name in _pairs(table, view):
        found = [look_up(table, codec, view, name, metric, label=label) for metric, label in keys]
        lines.append([codec, name, *(score.text if score else "" for score in found)])
    return _markdown(lines, numbers_from=2)


def _ranks(table: pd.DataFrame, view: str) -> str:
    lines = [["codec", "representation", "dimensions", "rank bound", "measured rank", "PCA 2D, %", "PCA 3D, %"]]
    for codec, name in _pairs(table, view):
        rank, bound = (look_up(table, codec, view, name, metric, label="") for metric in ("rank", "rank_bound"))
        shares = [
            look_up(table, codec, view, name, "explained_variance", label="", space=f"pca_{size}") for size in (2, 3)
        ]
        if rank and bound:
            explained = [f"{100 * share.value:.1f}" if share else "" for share in shares]
            lines.append([codec, name, f"{rank.dims:,}", f"{bound.value:g}", f"{rank.value:g}", *explained])
    return _markdown(lines, numbers_from=2)


def _pairs(table: pd.DataFrame, view: str) -> list[tuple[str, str]]:
    rows = table[(table["view"] == view) & ~table["representation"].str.startswith(LAYER)]
    return list(rows[["codec", "representation"]].drop_duplicates().itertuples(index=False, name=None))


def _markdown(lines: Sequence[Sequence[str]], *, numbers_from: int) -> str:
    rule = ["---" if column < numbers_from else "---:" for column in range(len(lines[0]))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])
