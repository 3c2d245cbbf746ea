"""A distilled codec against its undistilled twin: the same model, data, seed and steps, without that one loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from phonoscope.drawing import TWIN_SUFFIX

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN = 1.1
COLUMNS = (
    *("codec", "task", "metric", "layer", "distilled", "undistilled"),
    *("ratio", "ratio_low", "ratio_high", "p_over_1_1"),
    *("difference", "difference_low", "difference_high"),
)


class Statistics(Protocol):
    """Sums over eval utterances that scores are functions of."""

    def scores(self, multiplicity: NDArray[np.float64] | None = None) -> dict[str, NDArray[np.float64]]:
        """Scores of each resample; `multiplicity` is [resamples, utterances], None for the utterances themselves."""


class Resampled(NamedTuple):
    """A score and its bootstrap draws [samples]; twins share the resamples, so the draws are paired."""

    value: float
    draws: NDArray[np.float64]


class Twins(NamedTuple):
    """One score of both twins at one layer."""

    codec: str
    """Name of the distilled one."""
    task: str
    metric: str
    layer: int
    distilled: Resampled
    undistilled: Resampled


def twin_pairs(codecs: Sequence[str]) -> list[tuple[str, str]]:
    """The codecs `<name>` and `<name>_undistilled` where both are there."""
    return [(codec, codec + TWIN_SUFFIX) for codec in codecs if codec + TWIN_SUFFIX in codecs]


def pair_layers(
    codec: str,
    task: str,
    distilled: Sequence[Statistics],
    undistilled: Sequence[Statistics],
    resamples: NDArray[np.float64],
) -> Iterator[Twins]:
    """Every score of every layer that both twins have, drawn with the same `resamples` [samples, utterances]."""
    for layer, both in enumerate(zip(distilled, undistilled, strict=False), start=1):
        first, second = ([one.scores(), one.scores(resamples)] for one in both)
        for metric in first[0]:
            pair = (Resampled(float(value[metric][0]), draws[metric]) for value, draws in (first, second))
            yield Twins(codec, task, metric, layer, *pair)


def twin_table(twins: Iterable[Twins], confidence: float) -> pd.DataFrame:
    """Ratio and difference, distilled over undistilled, with percentile intervals of the paired bootstrap.

    `p_over_1_1` is the share of resamples whose ratio exceeds 1.1. R2 can be negative, so it has no ratio (NaN), nor
    has a score whose undistilled value is 0.
    """
    return pd.DataFrame([_row(pair, confidence) for pair in twins], columns=list(COLUMNS))


def headline(table: pd.DataFrame) -> dict[str, float]:
    """The ratios of macro-F1 at RVQ layer 1 with their intervals, for the metrics; those without a ratio are left out.

    `table` is `twin_table`'s. Keys: `<codec>_<task>_ratio`, `…_low`, `…_high`, `…_p_over_1_1`.
    """
    rows = table[(table["layer"] == 1) & (table["metric"] == "macro_f1") & table["ratio"].notna()]
    columns = {"ratio": "", "ratio_low": "_low", "ratio_high": "_high", "p_over_1_1": "_p_over_1_1"}
    return {
        f"{row['codec']}_{row['task']}_ratio{suffix}": float(row[column])
        for row in rows.to_dict("records")
        for column, suffix in columns.items()
    }


def _row(pair: Twins, confidence: float) -> tuple[Any, ...]:
    first, second = pair.distilled, pair.undistilled
    ratio = (np.nan,) * 4
    if pair.metric != "r2" and second.value > 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = first.draws / second.draws
        draws = draws[np.isfinite(draws)]
        ratio = (first.value / second.value, *_interval(draws, confidence), float((draws > MARGIN).mean()))
    difference = (first.value - second.value, *_interval(first.draws - second.draws, confidence))
    return (pair.codec, pair.task, pair.metric, pair.layer, first.value, second.value, *ratio, *difference)


def _interval(draws: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)
