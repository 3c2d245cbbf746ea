"""Probe tables and comparisons with undistilled codecs, with given scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from phonoscope.drawing import png
from phonoscope.report.probes import DISTILLATION, table

Values = Mapping[str, Sequence[float]]  # by task: the score of each layer
MEASURES = {"phone": ("macro_f1", "accuracy"), "speaker": ("macro_f1", "accuracy"), "pitch": ("mae", "r2")}
CONTROLS = {"permuted": 0.5, "lookup": 2.0}


def codec_table(codec: str, values: Values, *, half: float = 0.01, rank: bool = False) -> pd.DataFrame:
    """The table of stage `probe`: every measure of a task gets the given values (MAE 100 times them) with an interval
    of ± `half` of that scale; half of it permuted, twice of it as lookup, 0.005 for the majority class.
    """
    rows = []
    for task, layers in values.items():
        for measure in MEASURES[task]:
            scale = 100.0 if measure == "mae" else 1.0
            for layer, value in enumerate(layers, start=1):
                scores = {"linear": value, "permuted": value / 2, "lookup": 2 * value, "majority": 0.005}
                scores |= {"rank_1": value / 4, "rank_8": value / 2} if rank else {}
                for probe, score in scores.items():
                    width = half if probe in ("linear", "rank_1", "rank_8") else np.nan
                    numbers = (scale * number for number in (score, score - width, score + width))
                    rows.append((codec, task, "utterances", "layer", layer, probe, measure, *numbers, np.nan, True))
    columns = ["codec", "task", "split", "input", "layer", "probe", "measure", "value", "low", "high", "null"]
    return pd.DataFrame(rows, columns=[*columns, "converged"])


def probes(codecs: Mapping[str, Values], *, half: float = 0.01, rank: bool = False) -> pd.DataFrame:
    return table({codec: codec_table(codec, values, half=half, rank=rank) for codec, values in codecs.items()})


@dataclass
class Means:
    """A score that is the mean over utterances, in every measure."""

    values: NDArray[np.float64]
    measures: Sequence[str] = ("macro_f1", "accuracy", "r2", "mae")

    @property
    def frames(self) -> NDArray[np.int64]:
        return np.ones(len(self.values), dtype=np.int64)

    def row_scores(self) -> dict[str, NDArray[np.float64]]:
        return dict.fromkeys(self.measures, self.values)

    def scores(self) -> dict[str, float]:
        return dict.fromkeys(self.measures, float(self.values.mean()))

    def without_each(self) -> Means:
        return Means((self.values.sum() - self.values) / (len(self.values) - 1), self.measures)


@dataclass
class Probed:
    """As `TaskResult`."""

    utterances: Sequence[str]
    statistics: Sequence[Means]


def results(codecs: Mapping[str, Values], *, half: float = 0.01) -> Any:
    """What stage `probe` saves: scores of 40 utterances whose mean has the given value and an interval of ± `half`."""
    rng, units = np.random.default_rng(0), 40
    names, made = [f"u{unit}" for unit in range(units)], {}
    for codec, values in codecs.items():
        for task, layers in values.items():
            noise = rng.normal(size=(len(layers), units))
            noise -= noise.mean(axis=1, keepdims=True)
            noise *= half * np.sqrt(units) / (2.02 * noise.std(axis=1, ddof=1, keepdims=True))
            made[codec, task] = Probed(names, [Means(v + part) for v, part in zip(layers, noise, strict=True)])
    return made


def distilled(
    ratios: Mapping[tuple[str, str], tuple[float, float, float]], codec: str = "speechtokenizer"
) -> pd.DataFrame:
    """A comparison at layer 1 from (task, measure) -> (ratio, low, high); the undistilled score is 0.2."""
    rows = []
    for (task, measure), numbers in ratios.items():
        differences = [0.2 * (number - 1) for number in numbers]
        rows.append((codec, task, measure, 1, 0.2 * numbers[0], 0.2, *numbers, *differences))
    return pd.DataFrame(rows, columns=DISTILLATION)


NOTHING = distilled({})


def assert_legend_is_free(figure: Figure) -> None:
    """The legend lies within the figure, and no panel reaches into it."""
    png(figure)  # lays it out
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.fully_contains(legend.x0, legend.y0)
    assert figure.bbox.fully_contains(legend.x1, legend.y1)
    assert not any(legend.overlaps(box) for axes in figure.axes if (box := axes.get_tightbbox()))
