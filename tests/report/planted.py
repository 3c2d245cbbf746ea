"""Probe and twin tables with given scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from phonoscope.report.comparison import COLUMNS, MATCHED, TASKS, combine
from phonoscope.report.twins import COLUMNS as TWIN_COLUMNS

Values = Mapping[str, Sequence[float]]  # by task: the score of each layer


def codec_table(codec: str, values: Values, *, half: float = 0.01, matched: bool = False) -> pd.DataFrame:
    """Every metric of a task gets the given values (MAE 100 times them) with an interval of ± `half` of that scale."""
    rows = []
    for task, own in values.items():
        for metric in TASKS[task]:
            scale = 100.0 if metric == "mae_hz" else 1.0
            for suffix in ("", MATCHED) if matched else ("",):
                for layer, value in enumerate(own, start=1):
                    numbers = value, value - half, value + half, value / 2, 2 * value, 0.005
                    rows.append((codec, layer, task, metric + suffix, *(scale * number for number in numbers), True))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def table(codecs: Mapping[str, Values], *, half: float = 0.01, matched: bool = False) -> pd.DataFrame:
    return combine({codec: codec_table(codec, values, half=half, matched=matched) for codec, values in codecs.items()})


def twins(ratios: Mapping[tuple[str, str], tuple[float, float, float]], codec: str = "speechtokenizer") -> pd.DataFrame:
    """A twin table at layer 1 from (task, metric) -> (ratio, low, high); the undistilled score is 0.2."""
    rows = []
    for (task, metric), numbers in ratios.items():
        differences = [0.2 * (number - 1) for number in numbers]
        over = float(numbers[1] > 1.1)
        rows.append((codec, task, metric, 1, 0.2 * numbers[0], 0.2, *numbers, over, *differences))
    return pd.DataFrame(rows, columns=list(TWIN_COLUMNS))


NO_TWINS = twins({})
