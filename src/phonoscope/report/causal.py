"""Causal tests of one site: figures of ablated and steered features, and of patched parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from phonoscope.config.causal import CausalConfig
from phonoscope.drawing import GREY, HUES, style
from phonoscope.report.figures import grid_across, keys, panel_row

TITLES = {"ablate": "Ablated: words with the phone", "steer": "Steered: words without the phone"}


def _reach(rows: pd.DataFrame, column: str, ends: tuple[str, str]) -> NDArray[np.float64]:
    """How far the columns of the ends are from a column, to each side, [2, rows]."""
    return np.abs(rows[list(ends)].to_numpy().T - rows[column].to_numpy())


@style()
def draw_features(verdicts: pd.DataFrame, site: str, confidence: float) -> Figure:
    """Effect of each feature on the words of its claim, beside its controls; a panel an intervention.

    verdicts: feature, phone, intervention, effect with its interval, control_effect with control_lowest and
    control_highest, verdict.
    """
    names = verdicts.drop_duplicates("feature")
    figure, panels = panel_row(2, 4.2, 1.6 + 0.42 * len(names), sharey=True)
    order = {feature: row for row, feature in enumerate(names["feature"])}
    for axes, (intervention, title) in zip(panels, TITLES.items(), strict=True):
        _panel(axes, verdicts[verdicts["intervention"] == intervention], order)
        axes.set(title=title, xlabel=f"change of log-probability, nats a word ({confidence:.0%} interval)")
    panels[0].set_yticks(list(order.values()), [f"{row.feature} /{row.phone}/" for row in names.itertuples()])
    panels[0].invert_yaxis()
    panels[0].set_ylabel(f"feature of {site}, its phone")
    star = {"causal: beyond all controls": {"linestyle": "none", "marker": "$*$", "color": "black"}}
    handles = [*panels[0].get_legend_handles_labels()[0], *keys(star)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, order: dict[int, int]) -> None:
    place = rows["feature"].map(order).to_numpy(dtype=float)
    looks = {
        "effect": (("effect_low", "effect_high"), "the feature", HUES[0], "o", -0.12),
        "control_effect": (("control_lowest", "control_highest"), "its controls: mean, range", GREY, "s", 0.12),
    }
    for column, (ends, label, color, marker, shift) in looks.items():
        look: Any = {"fmt": marker, "color": color, "label": label, "markersize": 4, "capsize": 2}
        axes.errorbar(rows[column].to_numpy(), place + shift, xerr=_reach(rows, column, ends), **look)
    for row in set(order.values()) - set(place):
        _say(axes, row, "not tested: too few words")
    for row in place[(rows["verdict"] == "causal").to_numpy()]:
        axes.annotate("*", (1.0, row), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=12)
    axes.axvline(0, color=GREY, linewidth=0.8)
    grid_across(axes)


def _say(axes: Axes, row: float, words: str) -> None:
    """Words in place of a bar that is not there."""
    axes.annotate(words, (0.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=7, color=GREY)


@style()
def draw_patching(table: pd.DataFrame, site: str, confidence: float, noise: str) -> Figure:
    """Recovery of noisy speech by each part of the clean run: log-probability of the target word, and WER."""
    parts = table[~table["part"].isin(["clean", "noisy"])]
    rates = table.set_index("part")["wer"]
    figure, (left, right) = panel_row(2, 4.2, 1.8 + 0.32 * len(parts), sharey=True)
    place, bars = np.arange(len(parts)), {"ecolor": GREY, "capsize": 2}
    reach = _reach(parts, "recovered", ("recovered_low", "recovered_high"))
    left.barh(place, parts["recovered"], xerr=reach, color=HUES[0], height=0.6, error_kw=bars)
    left.axvline(1, color=GREY, linewidth=0.8, linestyle=":")
    left.set_yticks(place, list(parts["part"]))
    left.invert_yaxis()
    left.set_xlabel(f"recovered log-probability, 0 noisy, 1 clean ({confidence:.0%} interval)")
    left.set_title(f"Clean activations in noisy speech, {site}")
    right.barh(place, parts["wer"], color=HUES[1], height=0.6)
    for row in place[parts["wer"].isna()]:
        _say(right, row, "not transcribed")
    for name, line in (("clean", ":"), ("noisy", "--")):
        right.axvline(rates[name], color=GREY, linestyle=line, linewidth=1, label=f"{name} run")
    right.set(xlabel="word error rate", title=f"WER, {noise}")
    figure.legend(loc="outside lower right", ncols=2)
    grid_across(left)
    grid_across(right)
    return figure


def draw_site(verdicts: pd.DataFrame, patching: pd.DataFrame, site: str, config: CausalConfig) -> dict[str, Figure]:
    """Figures of one site by name; an empty table has none."""
    figures = {}
    if len(patching):
        figures["patching"] = draw_patching(patching, site, config.confidence, f"{config.noise}, {config.snr_db:g} dB")
    if len(verdicts):
        figures["features"] = draw_features(verdicts, site, config.confidence)
    return figures
