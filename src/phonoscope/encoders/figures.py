"""Figures of the encoders: scores by variant, and training curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from phonoscope.drawing import GREY, HUES, new_figure, style
from phonoscope.encoders.study import seed_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TITLES = {"word": "Word from one window", "speaker": "Speaker from one window"}


def draw_scores(scores: pd.DataFrame, chance: Mapping[str, float]) -> Figure:
    """Accuracy of each encoder and arm: a dot a seed, the mean and its interval over seeds, and the chance level.

    scores: columns encoder, seed, metric, value. chance: the majority class's share by task.
    """
    names = list(dict.fromkeys(scores["encoder"]))
    with style():
        figure = new_figure(9.5, 0.9 + 0.34 * len(names))
        for axes, task in zip(figure.subplots(1, 2, sharey=True), TITLES, strict=True):
            own = scores[scores["metric"] == f"accuracy_{task}"]
            for rank, name in enumerate(names):
                values = own.loc[own["encoder"] == name, "value"].to_numpy()
                mean, low, high = seed_interval(values)
                hue = HUES[1] if name == "mel" else HUES[0]
                axes.hlines(rank, max(low, 0.0), min(high, 1.0), color=hue, linewidth=1.4)
                axes.plot(values, [rank] * len(values), "o", color=hue, markersize=3.5, alpha=0.55)
                axes.plot(mean, rank, "D", color=hue, markersize=5.5)
            axes.axvline(chance[task], color=GREY, linewidth=0.9, linestyle=(0, (8, 4)))
            axes.set(xlim=(0, 1), xlabel="accuracy (share of eval windows)")
            axes.set_title(TITLES[task], loc="left")
            axes.grid(axis="x", color="0.92")
            axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.invert_yaxis()
        figure.suptitle(
            "Audio encoders: mean (diamond) and 95 % interval over seeds (dots); dashed: majority class",
            x=0.01,
            ha="left",
            fontweight="bold",
            fontsize=9.5,
        )
        return figure


def draw_curves(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Training loss of both tasks over steps, a line a seed."""
    with style():
        figure = new_figure(9.5, 3.2)
        for axes, task in zip(figure.subplots(1, 2), TITLES, strict=True):
            for (name, curve), hue in zip(curves.items(), HUES, strict=False):
                for seed, rows in curve.groupby("seed"):
                    axes.plot(rows["step"], rows[f"loss_{task}"], color=hue, label=name if seed == 0 else None)
            axes.set(xlabel="step", ylabel="cross-entropy (nats), training batch")
            axes.set_title(TITLES[task], loc="left")
            axes.set_ylim(bottom=0)
            axes.legend(title="input")
        return figure
