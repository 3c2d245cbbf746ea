"""From the measures of every epoch and seed to the numbers that stand for a variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

SETTLED = 0.5
"""Share of a run's epochs, its last ones, whose median stands for the run: a faulty codebook never comes to rest."""
HEADLINE = {
    "accuracy": ("eval", "eval", "accuracy"),
    "accuracy_train": ("eval", "train", "accuracy"),
    "majority": ("eval", "eval", "majority"),
    "drift_train": ("eval", "train", "drift"),
    "drift_eval": ("eval", "eval", "drift"),
    "drift_fit": ("fit", "train", "drift"),
    "perplexity_train": ("eval", "train", "perplexity_dataset"),
    "perplexity_eval": ("eval", "eval", "perplexity_dataset"),
    "perplexity_fit": ("fit", "train", "perplexity_dataset"),
    "perplexity_batch_fit": ("fit", "train", "perplexity_batch"),
    "perplexity_batch_eval": ("eval", "eval", "perplexity_batch"),
    "perplexity_printed_eval": ("eval", "eval", "perplexity_printed"),
    "perplexity_ema": ("eval", "eval", "perplexity_ema"),
    "active_codes_train": ("eval", "train", "active_codes"),
    "active_codes_eval": ("eval", "eval", "active_codes"),
    "active_codes_ema": ("eval", "eval", "active_codes_ema"),
    "clips_on_top_2": ("eval", "eval", "clips_on_top_2"),
    "code_norm_max": ("eval", "eval", "code_norm_max"),
    "distance_eval": ("eval", "eval", "distance"),
    "restart_share": ("fit", "train", "restart_share"),
}
"""Headline metric -> the mode, split and column that it is taken from."""

PERPLEXITIES = {
    "EMA history": ("eval", "eval", "perplexity_ema"),
    "batch, training": ("fit", "train", "perplexity_batch"),
    "batch, eval": ("eval", "eval", "perplexity_batch"),
    "dataset, train": ("eval", "train", "perplexity_dataset"),
    "dataset, eval": ("eval", "eval", "perplexity_dataset"),
}
"""What a perplexity is of -> the mode, split and column that it is taken from."""


@dataclass(frozen=True)
class Spread:
    """A number's median and range over seeds."""

    median: float
    low: float
    high: float
    seeds: int

    @staticmethod
    def of(values: pd.Series[float]) -> Spread:
        return Spread(float(values.median()), float(values.min()), float(values.max()), len(values))

    def text(self, digits: int = 2) -> str:
        """`median [low, high]`, or the value alone if there is one seed."""
        if self.seeds == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def whole_rows(table: pd.DataFrame, mode: str, split: str) -> pd.DataFrame:
    """The rows of a mode and split that stand for all batches."""
    return table[(table["mode"] == mode) & (table["split"] == split) & (table["batch"] == 0)]


def settled(table: pd.DataFrame, mode: str, split: str, column: str) -> pd.Series[float]:
    """A measure of each seed: its median over the last half of the run's epochs."""
    return _settled_rows(table, mode, split).groupby("seed")[column].median()


def evaluations(table: pd.DataFrame) -> pd.DataFrame:
    """Every headline metric that the variant has, a row for each seed and epoch of the last half (the index)."""
    columns = {}
    for name, (mode, split, column) in HEADLINE.items():
        if column in table:
            columns[name] = _settled_rows(table, mode, split).set_index(["seed", "epoch"])[column]
    return pd.DataFrame(columns)


def _settled_rows(table: pd.DataFrame, mode: str, split: str) -> pd.DataFrame:
    rows = whole_rows(table, mode, split)
    return rows[rows["epoch"] > rows["epoch"].max() * (1 - SETTLED)]


def last(table: pd.DataFrame, mode: str, split: str, column: str) -> pd.Series[float]:
    """A measure of each seed's trained model."""
    rows = whole_rows(table, mode, split)
    return rows[rows["epoch"] == rows["epoch"].max()].groupby("seed")[column].first()


def headline(table: pd.DataFrame) -> dict[str, Spread]:
    """Every headline metric that the variant has."""
    return {
        name: Spread.of(settled(table, mode, split, column))
        for name, (mode, split, column) in HEADLINE.items()
        if column in table
    }


def headline_table(headlines: Mapping[str, Mapping[str, Spread]]) -> pd.DataFrame:
    """Tidy: variant, metric, value (median over seeds), low, high (their range), seeds."""
    return pd.DataFrame(
        [
            {
                "variant": variant,
                "metric": metric,
                "value": spread.median,
                "low": spread.low,
                "high": spread.high,
                "seeds": spread.seeds,
            }
            for variant, found in headlines.items()
            for metric, spread in found.items()
        ]
    )


def perplexity_curves(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The perplexities by epoch: variant, perplexity (of what), epoch, value (median over seeds), low, high."""
    parts = []
    for variant, table in tables.items():
        for name, (mode, split, column) in PERPLEXITIES.items():
            by_epoch = whole_rows(table, mode, split).groupby("epoch")[column]
            curve = by_epoch.agg(value="median", low="min", high="max").reset_index()
            parts.append(curve.assign(variant=variant, perplexity=name))
    return pd.concat(parts)[["variant", "perplexity", "epoch", "value", "low", "high"]]
