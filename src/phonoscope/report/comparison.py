"""One tidy table of all codecs, layers and tasks, and views of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from phonoscope.errors import DataError

NUMBERS = ("value", "ci_low", "ci_high", "permuted", "lookup", "majority")
COLUMNS = ("codec", "layer", "task", "metric", *NUMBERS, "converged")
TASKS: dict[str, tuple[str, str]] = {
    "phone": ("macro_f1", "accuracy"),
    "speaker": ("macro_f1", "accuracy"),
    "pitch": ("mae_hz", "r2"),
}
HEADLINE = {"phone": "macro_f1", "speaker": "macro_f1", "pitch": "r2"}
NAMES = {"macro_f1": "macro-F1", "accuracy": "accuracy", "r2": "R²", "mae_hz": "MAE in Hz"}
MATCHED = "_matched"  # suffix of the scores of probes on rows reduced to a common number of dimensions


class Score(NamedTuple):
    """One layer's score, its interval and its references."""

    layer: int
    value: float
    low: float
    high: float
    lookup: float
    majority: float


def combine(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack the codecs' probe tables, in the given order of codecs, then by task, metric and layer.

    Raises `DataError` naming the codec if a column is missing, a row belongs to another codec or stands twice, or a
    score is not a finite number.
    """
    table = pd.concat([_checked(codec, part) for codec, part in tables.items()], ignore_index=True)
    metrics = [metric + suffix for pair in TASKS.values() for suffix in ("", MATCHED) for metric in pair]
    orders: dict[str, list[str]] = {
        "codec": list(tables),
        "task": list(TASKS),
        "metric": list(dict.fromkeys(metrics)),
    }
    ranks = {
        column: table[column].map({name: rank for rank, name in enumerate(order)}) for column, order in orders.items()
    }
    ranked = table.assign(**{f"_{column}": rank for column, rank in ranks.items()})
    return ranked.sort_values(["_codec", "_task", "_metric", "layer"], ignore_index=True)[list(COLUMNS)]


def _checked(codec: str, table: pd.DataFrame) -> pd.DataFrame:
    where, mend = f"probe scores of {codec}", f"run `dvc repro probe@{codec}`"
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise DataError(f"{where}: no column {missing[0]!r}; {mend}")
    others = set(table["codec"]) - {codec}
    if others:
        raise DataError(f"{where}: rows of another codec, {min(map(str, others))!r}; {mend}")
    if table.duplicated(["layer", "task", "metric"]).any():
        raise DataError(f"{where}: a layer, task and metric stand twice; {mend}")
    broken = table[~np.isfinite(table[list(NUMBERS)].to_numpy(dtype=np.float64)).all(axis=1)]
    if len(broken):
        row = broken.iloc[0]
        raise DataError(f"{where}: {row['task']} {row['metric']} of layer {row['layer']} is not finite; {mend}")
    return table


def scores(table: pd.DataFrame, codec: str, task: str, metric: str) -> list[Score]:
    """One codec's scores by layer; empty if the task was not posed."""
    chosen = table[(table["codec"] == codec) & (table["task"] == task) & (table["metric"] == metric)]
    columns = chosen.sort_values("layer")[["layer", "value", "ci_low", "ci_high", "lookup", "majority"]]
    return [Score(int(layer), *map(float, rest)) for layer, *rest in columns.itertuples(index=False)]


def wide(table: pd.DataFrame, task: str, metric: str) -> pd.DataFrame:
    """Layers by codecs: a column `layer`, then one a codec in the table's order; NaN beyond a codec's last layer."""
    chosen = table[(table["task"] == task) & (table["metric"] == metric)]
    pivoted = chosen.pivot(index="layer", columns="codec", values="value")
    return pivoted[list(dict.fromkeys(chosen["codec"]))].rename_axis(columns=None).reset_index()


def markdown_tables(table: pd.DataFrame) -> str:
    """`markdown_table` of every task's headline metric, under its name, and `side_by_side`."""
    posed = [(task, metric) for task, metric in HEADLINE.items() if (table["task"] == task).any()]
    parts = [
        f"**{task.capitalize()}, {NAMES[metric]}**\n\n{markdown_table(table, task, metric)}\n" for task, metric in posed
    ]
    return "\n".join([*parts, f"**Side by side**\n\n{side_by_side(table)}\n"])


def side_by_side(table: pd.DataFrame) -> str:
    """Layers by phone, speaker and pitch, codec and metric, without intervals; each column's best in bold."""
    columns: dict[str, dict[int, str]] = {}
    for task, metrics in ((task, TASKS[task]) for task in ("phone", "speaker", "pitch")):
        for codec in dict.fromkeys(table.loc[table["task"] == task, "codec"]):
            for metric in metrics:
                found = scores(table, codec, task, metric)
                top = best(found, metric).layer
                cells = {s.layer: f"**{fixed(s.value)}**" if s.layer == top else fixed(s.value) for s in found}
                columns[f"{task}, {codec}, {NAMES[metric]}"] = cells
    layers = sorted({layer for cells in columns.values() for layer in cells})
    lines = [["layer", *columns], ["---:"] * (len(columns) + 1)]
    lines += [[str(layer), *(cells.get(layer, "") for cells in columns.values())] for layer in layers]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown_table(table: pd.DataFrame, task: str, metric: str) -> str:
    """The codecs side by side, layer by layer, each score with its interval and each codec's best in bold."""
    codecs = list(dict.fromkeys(table.loc[(table["task"] == task) & (table["metric"] == metric), "codec"]))
    by_codec = [{score.layer: score for score in scores(table, codec, task, metric)} for codec in codecs]
    tops = [best(list(found.values()), metric).layer for found in by_codec]
    lines = [["layer", *codecs], ["---:"] * (len(codecs) + 1)]
    for layer in sorted({layer for found in by_codec for layer in found}):
        cells = [
            _cell(found[layer], bold=layer == top) if layer in found else ""
            for found, top in zip(by_codec, tops, strict=True)
        ]
        lines.append([str(layer), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(score: Score, *, bold: bool) -> str:
    value = f"**{fixed(score.value)}**" if bold else fixed(score.value)
    return f"{value} [{fixed(score.low)}, {fixed(score.high)}]"


def best(found: Sequence[Score], metric: str) -> Score:
    """The layer with the best value; the earliest of equals."""
    return (min if metric.startswith("mae") else max)(found, key=lambda score: score.value)


def fixed(value: float, digits: int = 3) -> str:
    """A score as text: `digits` after the point, one from 10 on, a true minus sign, never minus zero."""
    text = f"{value:.{1 if abs(value) >= 10 else digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    return f"{fixed(value, digits)} [{fixed(low, digits)}, {fixed(high, digits)}]"
