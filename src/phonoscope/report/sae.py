"""Sparse autoencoders of all sites side by side: tidy tables, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phonoscope.drawing import GREY, HUES, MARKERS, new_figure, style
from phonoscope.report.figures import panel_row
from phonoscope.report.markdown import markdown, number, page

BINS = np.arange(-5.0, 0.01, 0.25)  # of log10 density
CURVES = ("fvu", "dead_share", "ce_recovered")
Tables = Mapping[str, pd.DataFrame]


def stack(tables: Tables) -> pd.DataFrame:
    """Tables by site as one, with the column site first."""
    stacked = pd.concat([table.assign(site=site) for site, table in tables.items()], ignore_index=True)
    return stacked[["site", *stacked.columns.drop("site")]]


def density_histogram(features: Tables) -> pd.DataFrame:
    """Counts of the features that fire by log10 of their held-out density: site, log10_density (middle), features."""
    middles = (BINS[:-1] + BINS[1:]) / 2
    live = {site: table["density"][table["density"] > 0] for site, table in features.items()}
    counts = {site: np.histogram(np.log10(density), BINS)[0] for site, density in live.items()}
    return stack({site: pd.DataFrame({"log10_density": middles, "features": row}) for site, row in counts.items()})


def layer_curves(scores: Tables) -> pd.DataFrame:
    """The scores of every site in the order of `scores`: site, metric, value."""
    return stack({site: table[table["metric"].isin(CURVES)] for site, table in scores.items()})


def describe(baselines: pd.DataFrame, sparse: pd.DataFrame, stability: pd.DataFrame) -> str:
    """Phones told by the autoencoders and by their baselines, sparse probes, and agreement of seeds, as Markdown."""
    phones = baselines["phones_above"].astype(str) + " of " + baselines["phones_scored"].astype(str)
    counts = baselines.assign(phones=phones, mean=baselines["mean_auroc"].map(number))
    first = counts[["site", "representation", "dims", "phones", "mean"]]
    first = first.rename(columns={"dims": "dimensions", "phones": "phones with AUROC > 0.9", "mean": "mean AUROC"})
    ranks = sparse.assign(area=sparse["mean_auroc"].map(number), k="k = " + sparse["k"].astype(str))
    second = ranks.pivot_table(
        index=["site", "representation"], columns="k", values="area", aggfunc="first", sort=False
    )
    shares = {name: stability[name].map("{:.1%}".format) for name in ("rows_07", "rows_09", "detectors_07")}
    third = stability.assign(**shares)
    return page(
        "# Phones: the autoencoders and what they have to beat",
        "The best column of each phone is chosen on train segments and scored on eval segments. Raw dimensions and "
        "principal components count with both signs; the linear probe is one logistic regression for each phone.",
        markdown(first, text_columns=2),
        "Logistic regressions on the k best columns of each phone, mean AUROC on eval:",
        markdown(second.reset_index(), text_columns=2),
        "Trainings from another seed: the share of decoder rows that have a row of cosine above 0.7 and 0.9 there, and "
        "of phone detectors that have a feature of correlation above 0.7:",
        markdown(third),
    )


@style()
def draw_l0(curves: pd.DataFrame, scores: Tables) -> Figure:
    """FVU over L0: each site's weights with fewer and more active features; a ring marks the L0 of training."""
    figure, (axes,) = panel_row(1, 5.2, 3.6)
    for rank, (site, curve) in enumerate(curves.groupby("site", sort=False)):
        hue = HUES[rank % len(HUES)]
        axes.plot(curve["l0"], curve["fvu"], color=hue, marker=MARKERS[rank % len(MARKERS)], ms=4, label=site)
        here = scores[str(site)].set_index("metric")["value"]
        axes.plot(here["l0"], here["fvu"], "o", ms=10, mfc="none", mec=hue)
    axes.set(xscale="log", xlabel="L0 (active features a frame)", ylabel="FVU (held out)", ylim=(0, None))
    axes.set_title("Unexplained variance over sparsity (ring: as trained)")
    axes.set_xticks(sorted(set(curves["k"])), [str(k) for k in sorted(set(curves["k"]))])
    axes.minorticks_off()
    axes.legend()
    return figure


@style()
def draw_density(histogram: pd.DataFrame, scores: Tables) -> Figure:
    """Distribution of the features' densities, a panel a site."""
    sites = list(dict.fromkeys(histogram["site"]))
    figure = new_figure(2.6 * len(sites) + 0.6, 2.8)
    panels = figure.subplots(1, len(sites), sharey=True, squeeze=False)[0]
    for axes, site in zip(panels, sites, strict=True):
        bins = histogram[histogram["site"] == site]
        axes.bar(bins["log10_density"], bins["features"], width=0.23, color=HUES[0])
        values = scores[site].set_index("metric")["value"]
        axes.set(title=f"{site}: {values['dead_share']:.1%} dead", xlabel="log10 of the share of frames")
    panels[0].set_ylabel("features")
    return figure


@style()
def draw_layers(scores: Tables) -> Figure:
    """Reconstruction and its effect on Whisper, site by site."""
    values = pd.DataFrame({site: table.set_index("metric")["value"] for site, table in scores.items()})
    figure, (left, middle, right) = panel_row(3, 2.8, 3.0)
    _points(left, values, {"FVU": "fvu", "dead share": "dead_share"})
    left.set(title="Reconstruction", ylabel="share")
    _points(middle, values, {"recovered": "ce_recovered"})
    middle.axhline(1.0, color=GREY, lw=0.8, ls=":")
    middle.set(title="Cross-entropy recovered", ylabel="1: clean, 0: zero ablation")
    _points(right, values, {"clean": "wer_clean", "reconstruction": "wer_sae", "zero ablation": "wer_zero"})
    right.set(title="Whisper's WER", ylabel="WER")
    return figure


def _points(axes: Axes, values: pd.DataFrame, series: Mapping[str, str]) -> None:
    """A line a metric over the sites; `values` is metrics by sites, `series` the metric of each label."""
    for rank, (label, metric) in enumerate(series.items()):
        look: Any = {"color": HUES[rank], "marker": MARKERS[rank], "ms": 4.5, "label": label}
        axes.plot(list(map(str, values)), values.loc[metric], **look)
    axes.margins(x=0.15)
    if len(series) > 1:
        axes.set_ylim(0, 1.4 * float(np.nanmax(values.loc[list(series.values())])))  # room for the legend
        axes.legend(fontsize=7.5, loc="upper left")
    axes.tick_params(axis="x", labelsize=7.5)


@style()
def draw_training(curves: Tables) -> Figure:
    """The reconstruction loss and the dead share over the frames seen."""
    figure, (left, right) = panel_row(2, 3.6, 3.0)
    for rank, (site, curve) in enumerate(curves.items()):
        look: Any = {"color": HUES[rank % len(HUES)], "lw": 1.3, "label": site}
        left.plot(curve["frames"] / 1000, curve["reconstruction"], **look)
        right.plot(curve["frames"] / 1000, curve["dead_share"], **look)
    left.set(yscale="log", xlabel="thousand frames", ylabel="squared error (data: 1)", title="Reconstruction loss")
    right.set(xlabel="thousand frames", ylabel="share", ylim=(0, None), title="Dead features in training")
    left.legend()
    return figure
