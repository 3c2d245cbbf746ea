"""Figures of the ablation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from phonoscope.drawing import GREY, HUES, new_figure, style
from phonoscope.vq.headline import whole_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DASHED = (0, (4, 1.5))
LINES = {
    "EMA history": (HUES[1], "-"),
    "batch, training": (HUES[0], "-"),
    "batch, eval": (HUES[0], DASHED),
    "dataset, train": (HUES[2], "-"),
    "dataset, eval": (HUES[2], DASHED),
}
"""Colour and line style of each perplexity."""


def draw_perplexities(curves: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """The three perplexities over epochs, a panel a variant: medians over seeds and their range.

    curves: from `phonoscope.vq.headline.perplexity_curves`.
    """
    with style():
        figure = new_figure(4.2 * len(titles), 3.6)
        axes = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for axis, (variant, title) in zip(axes, titles.items(), strict=True):
            for name, own in curves[curves["variant"] == variant].groupby("perplexity", sort=False):
                hue, line = LINES[str(name)]
                axis.plot(own["epoch"], own["value"], color=hue, linestyle=line, label=name, linewidth=1.4)
                axis.fill_between(own["epoch"], own["low"], own["high"], color=hue, alpha=0.12, linewidth=0)
            axis.set(title=title, xlabel="epoch", yscale="log", ylim=(0.9, 600))
            axis.set_yticks([1, 2, 5, 10, 20, 50, 100, 200, 500], [1, 2, 5, 10, 20, 50, 100, 200, 500])
            axis.minorticks_off()
        axes[0].set_ylabel("perplexity (codes)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def draw_norms(tables: Mapping[str, pd.DataFrame], titles: Mapping[str, str]) -> Figure:
    """Norms of the codes over epochs, a panel a variant, against those of the vectors and the EMA's total count."""
    with style():
        figure = new_figure(4.2 * len(titles), 3.4)
        axes = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for axis, (variant, title) in zip(axes, titles.items(), strict=True):
            rows = whole_rows(tables[variant], "eval", "eval").groupby("epoch")
            for label, column, hue in (
                ("largest norm", "code_norm_max", HUES[1]),
                ("mean norm", "code_norm", HUES[4]),
                ("mean norm of the codes in use", "code_norm_used", HUES[0]),
            ):
                axis.plot(rows[column].median(), color=hue, label=label, linewidth=1.4)
            axis.plot(rows["ema_total"].median(), color=GREY, linestyle=":", label="n, the EMA's total count")
            axis.axhline(1.0, color=GREY, linewidth=0.8, label="norm of the vectors")
            axis.set(title=title, xlabel="epoch", yscale="log")
        axes[0].set_ylabel("Euclidean norm")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def draw_features(
    vectors: Mapping[str, tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]],
    books: Mapping[str, NDArray[np.floating[Any]]],
    titles: Mapping[str, str],
) -> Figure:
    """Encoder outputs of train and eval together, and the codes among them: a panel a variant, PCA of its train.

    vectors: (train, eval) [N, D] of each variant. books: the codes [K, D] of those that have some.
    """
    from sklearn.decomposition import PCA

    with style():
        figure = new_figure(3.7 * len(titles), 3.9)
        axes = figure.subplots(1, len(titles), squeeze=False)[0]
        for axis, (variant, title) in zip(axes, titles.items(), strict=True):
            train, held_out = vectors[variant]
            projection = PCA(2, svd_solver="full").fit(train)
            _scatter(axis, projection.transform(train), HUES[0], "o", "train")
            _scatter(axis, projection.transform(held_out), HUES[1], "^", "eval")
            limits = axis.axis()
            if variant in books:
                codes = projection.transform(books[variant])
                low, high = np.array(limits).reshape(2, 2).T
                inside = ((codes >= low) & (codes <= high)).all(axis=1)
                axis.scatter(codes[:, 0], codes[:, 1], s=26, marker="+", color="black", linewidth=0.7, label="codes")
                title = f"{title}\n{inside.sum()} of {len(codes)} codes in view"
            first, second = (f"{share:.0%}" for share in projection.explained_variance_ratio_)
            axis.set(title=title, xlabel=f"component 1 ({first})", ylabel=f"component 2 ({second})")
            axis.axis(limits)
        handles = {
            label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _scatter(axis: Axes, points: NDArray[np.floating[Any]], hue: str, marker: str, label: str) -> None:
    axis.scatter(points[:, 0], points[:, 1], s=7, marker=marker, color=hue, alpha=0.45, linewidth=0, label=label)
