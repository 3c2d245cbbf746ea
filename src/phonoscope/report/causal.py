"""Causal tests of one site: figures of ablated and steered features, and of patched parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phonoscope.drawing import GREY, HUES, new_figure, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from phonoscope.config.causal import CausalConfig

TITLES = {"ablate": "Ablated: words with the phone", "steer": "Steered: words without the phone"}


def draw_features(verdicts: pd.DataFrame, site: str, confidence: float) -> Figure:
    """Effect of each feature on the words of its claim, beside its control; a panel an intervention.

    Args:
        verdicts: feature, phone, intervention, effect and control_effect with `_low` and `_high`, causal.
    """
    from matplotlib.lines import Line2D

    with style():
        figure = new_figure(8.4, 1.6 + 0.42 * verdicts["feature"].nunique())
        axes = figure.subplots(1, 2, sharey=True)
        order = {feature: row for row, feature in enumerate(dict.fromkeys(verdicts["feature"]))}
        for axis, (intervention, title) in zip(axes, TITLES.items(), strict=True):
            _panel(axis, verdicts[verdicts["intervention"] == intervention], order)
            axis.set_title(title)
            axis.set_xlabel(f"change of log-probability, nats a word ({confidence:.0%} interval)")
        names = verdicts.drop_duplicates("feature")
        axes[0].set_yticks(list(order.values()), [f"{row.feature} /{row.phone}/" for row in names.itertuples()])
        axes[0].invert_yaxis()
        axes[0].set_ylabel(f"feature of {site}, its phone")
        handles, _ = axes[0].get_legend_handles_labels()
        star = Line2D([], [], linestyle="none", marker="$*$", color="black", label="worse than the control's")
        figure.legend(handles=[*handles, star], loc="outside lower center", ncols=3)
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, order: dict[int, int]) -> None:
    place = np.array([order[feature] for feature in rows["feature"]], dtype=float)
    looks = {"effect": ("the feature", HUES[0], "o", -0.12), "control_effect": ("its control", GREY, "s", 0.12)}
    for column, (label, color, marker, shift) in looks.items():
        value = rows[column].to_numpy()
        reach = np.abs(rows[[f"{column}_low", f"{column}_high"]].to_numpy().T - value)
        axis.errorbar(value, place + shift, xerr=reach, fmt=marker, color=color, label=label, markersize=4, capsize=2)
    causal = rows["causal"].to_numpy(dtype=bool)
    for row in place[causal]:
        axis.annotate("*", (1.0, row), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=12)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.grid(axis="x", color="0.92")
    axis.grid(visible=False, axis="y")


def draw_patching(table: pd.DataFrame, site: str, confidence: float, noise: str) -> Figure:
    """Recovery of noisy speech by each part of the clean run: log-probability of the target word, and WER."""
    parts = table[~table["part"].isin(["clean", "noisy"])]
    rates = table.set_index("part")["wer"]
    with style():
        figure = new_figure(8.4, 1.8 + 0.32 * len(parts))
        left, right = figure.subplots(1, 2, sharey=True)
        place, value = np.arange(len(parts)), parts["recovered"].to_numpy()
        reach = np.abs(parts[["recovered_low", "recovered_high"]].to_numpy().T - value)
        left.barh(place, value, xerr=reach, color=HUES[0], height=0.6, error_kw={"ecolor": GREY, "capsize": 2})
        left.axvline(1, color=GREY, linewidth=0.8, linestyle=":")
        left.set_yticks(place, list(parts["part"]))
        left.invert_yaxis()
        left.set_xlabel(f"recovered log-probability, 0 noisy, 1 clean ({confidence:.0%} interval)")
        left.set_title(f"Clean activations in noisy speech, {site}")
        right.barh(place, parts["wer"].to_numpy(), color=HUES[1], height=0.6)
        for name, line in (("clean", ":"), ("noisy", "--")):
            right.axvline(rates[name], color=GREY, linestyle=line, linewidth=1, label=f"{name} run")
        right.set_xlabel("word error rate")
        right.set_title(f"WER, {noise}")
        figure.legend(loc="outside lower right", ncols=2)
        for axis in (left, right):
            axis.grid(axis="x", color="0.92")
            axis.grid(visible=False, axis="y")
    return figure


def draw_site(verdicts: pd.DataFrame, patching: pd.DataFrame, site: str, config: CausalConfig) -> dict[str, Figure]:
    """Figures of one site by name; an empty table has none."""
    figures = {}
    if len(patching):
        figures["patching"] = draw_patching(patching, site, config.confidence, f"{config.noise}, {config.snr_db:g} dB")
    if len(verdicts):
        figures["features"] = draw_features(verdicts, site, config.confidence)
    return figures
