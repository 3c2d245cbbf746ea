"""Interpretation of one site's features: figures of selectivity by phone, effect sizes, accents, a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from phonoscope.config.interpret import InterpretConfig
from phonoscope.data.phones import GROUPS, OTHER, phone_group
from phonoscope.drawing import GREY, HUES, MARKERS, new_figure, style
from phonoscope.report.figures import add_title, panel_row
from phonoscope.sae.interpret.baselines import HIGH_AUROC
from phonoscope.sae.interpret.run import AccentMap, Interpretation, speakers_by

SHOWN_EFFECTS = 24  # features in the figure of effect sizes


@style()
def draw_selectivity(phones: pd.DataFrame, site: str) -> Figure:
    """The AUROC of each scored phone's best detector on eval, with the one on train that chose it."""
    rows, high = phones[phones["scored"]], HIGH_AUROC
    figure, (axes,) = panel_row(1, max(5.0, 1.6 + 0.24 * len(rows)), 3.6)
    x = np.arange(len(rows))
    axes.vlines(x, rows["auroc_train"], rows["auroc"], color="0.8", linewidth=1)
    axes.plot(x, rows["auroc_train"], "o", mfc="white", color=GREY, markersize=4, label="train (chosen on it)")
    axes.plot(x, rows["auroc"], "o", color=HUES[0], markersize=5, label="eval")
    axes.axhline(high, color=HUES[1], linewidth=0.9, linestyle="--", label=f"{high}")
    axes.axhline(0.5, color=GREY, linewidth=0.9, linestyle=":", label="chance")
    axes.set_xticks(x, rows["phone"], rotation=90)
    axes.set(xlabel="phone", ylabel="AUROC", xlim=(-0.7, max(len(rows), 1) - 0.3), ylim=(0.45, 1.02))
    axes.legend(loc="lower left", ncols=4)
    reached = int((rows["auroc"] > high).sum())
    axes.set_title(f"{site}: best feature of each phone; {reached} of {len(rows)} above {high} on eval", loc="left")
    return figure


@style()
def draw_effects(features: pd.DataFrame, site: str, config: InterpretConfig, speakers: dict[str, int]) -> Figure:
    """The features with the largest Hedges' g by sex, with intervals, and the g of all live features."""
    live, alpha = features[features["density"] > 0], config.alpha
    order = live["g"].abs().sort_values(ascending=False, kind="stable").index[:SHOWN_EFFECTS]
    rows = live.loc[order].sort_values("g")
    figure = new_figure(9.0, 1.6 + 0.19 * len(rows))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    y = np.arange(len(rows))
    low = rows["g_q"] < alpha
    looks = (low, HUES[0], HUES[0], f"q < {alpha}"), (rows["g_q"] >= alpha, GREY, "white", f"q ≥ {alpha}")
    for mask, hue, face, label in looks:
        left.hlines(y[mask], rows["g_low"][mask], rows["g_high"][mask], color=hue, linewidth=1.1)
        left.plot(rows["g"][mask], y[mask], "o", markersize=4.5, label=label, color=hue, mfc=face)
    left.axvline(0, color=GREY, linewidth=0.9)
    left.set_yticks(y, [f"{row.feature}  {row.best_phone}".rstrip() for row in rows.itertuples()])
    left.set_xscale("symlog", linthresh=2)
    left.set_xticks([-10, -4, -2, -1, 0, 1, 2, 4, 10], ["−10", "−4", "−2", "−1", "0", "1", "2", "4", "10"])
    left.set(xlabel="Hedges' g, female − male (linear to ±2, then logarithmic)", ylabel="feature and its best phone")
    left.legend(loc="best")
    left.set_title(f"Largest effects, {config.confidence:.0%} intervals over speakers", loc="left")
    right.hist(live["g"].clip(-4, 4), bins=np.linspace(-4, 4, 41), color=HUES[5])
    right.set(xlabel="Hedges' g (clipped to ±4)", ylabel="features")
    right.set_title(f"All {len(live)} live features", loc="left")
    sexes = f"{speakers.get('F', 0)} female and {speakers.get('M', 0)} male speakers"
    significant = int((live["g_q"] < alpha).sum())
    add_title(figure, f"{site}: effect of sex over {sexes}; {significant} features with q < {alpha}")
    return figure


@style()
def draw_accents(accents: AccentMap, speakers: dict[str, int], site: str) -> Figure:
    """Ward's dendrogram of the accents' mean activations, and the utterances on a t-SNE map."""
    figure, (left, right) = panel_row(2, 4.75, 3.8)
    names = [f"{accent} ({speakers.get(accent, 0)})" for accent in accents.names]
    look: Any = {"leaf_font_size": 9, "color_threshold": 0, "above_threshold_color": HUES[0]}
    dendrogram(accents.tree, labels=names, orientation="right", ax=left, **look)
    left.grid(visible=False)
    left.spines["left"].set_visible(False)
    left.set_xlabel("Ward distance of mean activations")
    left.set_title("Accents (number of speakers)", loc="left")
    _scatter(right, accents.points, accents.labels, accents.names)
    right.set_title("Mean activations of utterances, t-SNE", loc="left")
    add_title(figure, f"{site}: accents")
    return figure


@style()
def draw_feature_map(feature_map: pd.DataFrame, site: str) -> Figure:
    """Features on a t-SNE map of their mean activations by phone, coloured by the group of their best phone."""
    classes = np.array([phone_group(phone) for phone in feature_map["best_phone"]])
    names = [name for name in (*GROUPS, OTHER) if (classes == name).any()]
    figure, (axes,) = panel_row(1, 6.8, 5.0)
    _scatter(axes, feature_map[["x", "y"]].to_numpy(), classes, names, title="best phone")
    title = f"{site}: {len(feature_map)} features by mean activation over phones, t-SNE"
    axes.set_title(title, loc="left", fontweight="bold")
    return figure


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray, names: Sequence[str], title: str = "") -> None:
    """Points in the colours of their labels; a t-SNE map has no scale, so no axes. The legend stands beside it."""
    for rank, name in enumerate(names):
        look: Any = {"color": HUES[rank % len(HUES)], "marker": MARKERS[rank % len(MARKERS)]}
        x, y = points[labels == name].T
        axes.scatter(x, y, s=9, alpha=0.75, linewidths=0, label=name, **look)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=1.6, title=title)


def draw_site(result: Interpretation, index: pd.DataFrame, site: str, config: InterpretConfig) -> dict[str, Figure]:
    """Figures of one site by name; a skipped statistic has none."""
    figures = {"phones": draw_selectivity(result.phones, site)}
    if "effects by sex" not in result.skipped:
        figures["effects"] = draw_effects(result.features, site, config, speakers_by(index, "sex"))
    if result.accents is not None:
        figures["accents"] = draw_accents(result.accents, speakers_by(index, "accent"), site)
    if len(result.feature_map):
        figures["features"] = draw_feature_map(result.feature_map, site)
    return figures
