"""Geometry scores as the stage `geometry` writes them, with known values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

DIMS = {"codes_mean": 8, "codes_concat": 96, "latent_sum": 1024, "projections_concat": 12_288, "layer_1": 1024}
RANKS = {"codes_mean": 8, "codes_concat": 95, "latent_sum": 94, "projections_concat": 96, "layer_1": 8}
ALIASES = {"latent_sum": "codes_mean", "projections_concat": "codes_concat"}
MEASURES = ("silhouette", "map_at_r", "nn_accuracy", "probe_accuracy")
VIEWS = {"notebook": 12, "full": 24}
P_VALUES = {"codes_mean": 0.01, "codes_concat": 0.02, "latent_sum": 0.01, "projections_concat": 0.02, "layer_1": 0.5}
"""Of the separation of words; equal where representations coincide."""
GAIN = 0.1
"""Projections kept apart minus their sum, by default."""


def scores(codec: str, *, gains: Mapping[str, float] | None = None, aliased: bool = False) -> pd.DataFrame:
    """A codec's table; `gains` is what a measure gains by keeping projections apart, 0.05 to each side its interval."""
    told = dict.fromkeys(MEASURES, GAIN) | dict(gains or {})
    rows: list[dict[str, Any]] = [
        {"codec": codec, "view": view, "representation": name, "dims": DIMS[name], "n": n} | row
        for view, n in VIEWS.items()
        for name in DIMS
        for row in _rows(name, told)
    ]
    same = {"same_as": [ALIASES.get(row["representation"], "") if aliased else "" for row in rows]}
    columns = ["codec", "view", "representation", "same_as", "dims", "space", "label", "metric", "against", "value"]
    table = pd.DataFrame(rows).assign(**same)[[*columns, "ci_low", "ci_high", "p_value", "n"]]
    return table.replace("", np.nan)  # as read from a CSV


def _rows(name: str, gains: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    def row(metric: str, number: float, label: str = "word", space: str = "full", **more: Any) -> dict[str, Any]:
        empty = {"against": "", "ci_low": np.nan, "ci_high": np.nan, "p_value": np.nan}
        return {"metric": metric, "value": number, "label": label, "space": space} | empty | more

    def around(number: float) -> dict[str, Any]:
        return {"ci_low": number - 0.05, "ci_high": number + 0.05}

    for metric in MEASURES:
        number = 0.2 + (gains[metric] if name == "projections_concat" else 0.0)
        yield row(metric, number, **around(number))
        if name == "projections_concat":
            yield row(f"{metric}_difference", gains[metric], against="latent_sum", **around(gains[metric]))
    for label in ("speaker", "sex"):
        yield row("silhouette", -0.25, label=label, **around(-0.25))
    yield row("separation", 0.07, p_value=P_VALUES[name], **around(0.07))
    yield row("separation", 0.01, label="speaker", p_value=0.5, **around(0.01))
    yield row("silhouette_null", -0.01, ci_low=-0.02, ci_high=0.0)
    yield row("chance", 0.1)
    yield row("rank", RANKS[name], label="")
    yield row("rank_bound", min(DIMS[name], 96), label="")
    for size, share in ((2, 0.377), (3, 0.441)):
        yield row("explained_variance", share, label="", space=f"pca_{size}")
        yield row("silhouette", -0.1274, space=f"pca_{size}")
        yield row("silhouette", -0.1001, space=f"tsne_{size}")


def clips() -> pd.DataFrame:
    """Clips of both views: utterance, word, speaker, sex, accent, frames."""
    rows = [
        (view, f"clip-{i:02d}", ("zero", "one", "two")[i % 3], *(("ada", "F"), ("ben", "M"))[i // 3 % 2], "", 40)
        for view, n in VIEWS.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["view", "utterance", "word", "speaker", "sex", "accent", "frames"])


def coordinates(*representations: str) -> pd.DataFrame:
    """Coordinates of `clips`, in another order; the first clip of a view lies at 1, 2, 3 in every projection."""
    axes = ["pca_1", "pca_2", "pca_3", "tsne2_1", "tsne2_2", "tsne3_1", "tsne3_2", "tsne3_3"]
    rng = np.random.default_rng(0)
    parts = []
    for view, own in clips().groupby("view", sort=False):
        for name in representations:
            points = pd.DataFrame(rng.normal(size=(len(own), len(axes))).astype(np.float32), columns=axes)
            points.iloc[0] = [int(axis[-1]) for axis in axes]
            named = points.assign(view=view, representation=name, utterance=own["utterance"].to_numpy())
            parts.append(named.iloc[::-1])
    return pd.concat(parts, ignore_index=True)
