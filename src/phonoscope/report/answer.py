"""The research question answered in one paragraph of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from phonoscope.report.comparison import HEADLINE, NAMES, TASKS, Score, best, fixed, scores, with_interval

Row = Mapping[Any, Any]
NO_TWINS = (
    "Whether distilling RVQ-1 makes phones more decodable there cannot be told: no distilled codec of this run stands "
    "beside its undistilled twin."
)
VERDICTS = {
    frozenset({"more"}): "Yes",
    frozenset({"less"}): "No, on the contrary",
    frozenset({"same"}): "Not measurably",
}


def answer(table: pd.DataFrame, twins: pd.DataFrame, *, utterances: int, confidence: float = 0.95) -> str:
    """Does distilling RVQ-1 make phones more decodable there, and where do speaker and pitch sit?

    `table` is `comparison.combine`'s, `twins` `twins.twin_table`'s, `utterances` the number of eval utterances. One
    paragraph, closed by a newline. "More" and "less" mean that the paired interval of the ratio excludes 1.
    """
    interval = f"{100 * confidence:g} % intervals in brackets, bootstrap over {utterances} eval utterances"
    first = twins[(twins["layer"] == 1) & twins["task"].isin(["phone", "speaker"])]
    by_codec = {codec: rows.to_dict("records") for codec, rows in first.groupby("codec", sort=False)}
    parts = [sentence for codec, rows in by_codec.items() for sentence in _distillation(str(codec), rows)] or [NO_TWINS]
    parts += [_place(table, task) for task in ("speaker", "pitch")]
    parts.append(f"({interval[0].upper()}{interval[1:]}; scores are linear probes on one layer alone.)")
    return " ".join([*parts, *_caveat(table)]) + "\n"


def _distillation(codec: str, rows: Sequence[Row]) -> list[str]:
    """Two sentences at most: phones, speakers."""
    phone, speaker = ([row for row in rows if row["task"] == task] for task in ("phone", "speaker"))
    sentences = []
    if phone:
        verdict = VERDICTS.get(frozenset(map(_direction, phone)), "It depends on the score")
        scored = "; ".join(_scored(row) for row in phone)
        sentences.append(f"Does distilling {codec}'s RVQ-1 make phones more decodable there? **{verdict}**: {scored}.")
    if speaker:
        scored = "; ".join(_scored(row) for row in speaker)
        sentences.append(f"Speakers at RVQ-1 of the distilled codec: {scored}.")
    return sentences


def _direction(row: Row) -> str:
    """Which side of "no difference" the paired interval lies on; by the ratio, or the difference where it has none."""
    none, low, high = (1.0, row["ratio_low"], row["ratio_high"])
    if math.isnan(row["ratio"]):
        none, low, high = 0.0, row["difference_low"], row["difference_high"]
    return "more" if low > none else "less" if high < none else "same"


def _scored(row: Row) -> str:
    how = {"more": "more decodable", "less": "less decodable", "same": "not distinguishable"}[_direction(row)]
    values = (
        f"{how} by {NAMES[row['metric']]}, {fixed(row['distilled'])} against the twin's {fixed(row['undistilled'])}"
    )
    if math.isnan(row["ratio"]):
        return f"{values}, a difference of {_bracketed(row, 'difference')}"
    over = f"{100 * row['p_over_1_1']:.0f} % of resamples over 1.1"
    return f"{values}, {_bracketed(row, 'ratio')} times ({over})"


def _bracketed(row: Row, name: str) -> str:
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], digits=2 if name == "ratio" else 3)


def _place(table: pd.DataFrame, task: str) -> str:
    """Where each codec's information about `task` is read best."""
    metric = HEADLINE[task]
    found = {str(codec): scores(table, codec, task, metric) for codec in dict.fromkeys(table["codec"])}
    places = [f"{codec}: {_peak(own, metric)}" for codec, own in found.items() if own]
    if not places:
        return f"{task.capitalize()} was not probed."
    return f"{task.capitalize()} ({NAMES[metric]}) is read best in {'; '.join(places)}."


def _peak(found: list[Score], metric: str) -> str:
    top = best(found, metric)
    value = with_interval(top.value, top.low, top.high)
    if top.low <= top.majority:
        constant = "the training mean" if metric == "r2" else "the majority class"
        return f"no layer, not told from {constant} (at most {value}, layer {top.layer})"
    share = f", {100 * top.value / top.lookup:.0f} % of the lookup" if top.lookup > 0 else ""
    return f"layer {top.layer} of {len(found)} ({value}{share})"


def _caveat(table: pd.DataFrame) -> list[str]:
    """A sentence on fits that have not converged, if there are any."""
    fits = table[table["metric"].isin([metric for pair in TASKS.values() for metric in pair])]
    converged = fits.groupby(["codec", "task", "layer"])["converged"].all()
    failed = int((~converged).sum())
    return [f"{failed} of {len(converged)} probes have not converged: raise `max_iter`."] if failed else []
