"""Geometry of all codecs: scores, ranks and verdicts; figures of how well words, speakers and sexes cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from phonoscope.drawing import GREY, codec_looks, new_figure, style
from phonoscope.errors import DataError
from phonoscope.report.markdown import markdown, with_interval
from phonoscope.report.verdict import Estimate, judge, verdict_frame, verdict_markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXTS = ("codec", "view", "representation", "same_as", "space", "label", "metric", "against")
NUMBERS = ("dims", "value", "ci_low", "ci_high", "p_value", "n")
LAYER = "layer_"
APART, SUMMED = "projections_concat", "latent_sum"
"""The projections of all layers kept apart, and their sum: which of them separates words is the open question."""
SCORES = {
    ("silhouette", "word"): "Silhouette by word",
    ("silhouette", "speaker"): "Silhouette by speaker",
    ("silhouette", "sex"): "Silhouette by sex",
    ("map_at_r", "word"): "mAP@R of the word",
    ("nn_accuracy", "word"): "1-NN accuracy of the word",
    ("probe_accuracy", "word"): "Linear probe of the word",
}
"""Scores compared over representations and codecs, in the full space; only other speakers' clips in the last three."""
NO_WORDS = "The corpus has no isolated words, so there is nothing to cluster."
SPREAD = 0.5
"""Width over which a representation's codecs are set side by side."""
LABELS = {
    "silhouette": "mean silhouette",
    "map_at_r": "mAP@R",
    "nn_accuracy": "accuracy",
    "probe_accuracy": "accuracy",
}
CHANCE = {"probe_accuracy": "chance"}
"""The null level of a score that no permutation gives; of the others it is <score>_null."""


class Score(NamedTuple):
    """A row of the table."""

    value: float
    low: float
    high: float
    p_value: float
    n: int
    dims: int

    @property
    def text(self) -> str:
        """With its interval, where it has one."""
        return with_interval(self.value, self.low, self.high)


def table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The codecs' tables in the given order; empty texts are "", undefined numbers NaN.

    Raises `DataError` naming the codec if a column is missing, a row belongs to another codec or stands twice.
    """
    return pd.concat([_checked(codec, rows) for codec, rows in tables.items()], ignore_index=True)


def _checked(codec: str, rows: pd.DataFrame) -> pd.DataFrame:
    where = f"geometry scores of {codec}"
    missing = [column for column in (*TEXTS, *NUMBERS) if column not in rows]
    if missing:
        raise DataError(f"{where}: no column {missing[0]!r}")
    rows = rows[[*TEXTS, *NUMBERS]].astype(dict.fromkeys(NUMBERS, float))
    rows[list(TEXTS)] = rows[list(TEXTS)].astype(object).fillna("").astype(str)
    others = set(rows["codec"]) - {codec}
    if others:
        raise DataError(f"{where}: rows of another codec, {min(others)!r}")
    if rows.duplicated([column for column in TEXTS if column != "same_as"]).any():
        raise DataError(f"{where}: a score stands twice")
    return rows


def look_up(
    rows: pd.DataFrame,
    codec: str,
    view: str,
    representation: str,
    metric: str,
    *,
    label: str = "word",
    space: str = "full",
    against: str = "",
) -> Score | None:
    """One score; None if the table lacks it."""
    where = {"codec": codec, "view": view, "representation": representation, "metric": metric}
    where |= {"label": label, "space": space, "against": against}
    chosen = rows[(rows[list(where)] == pd.Series(where)).all(axis=1)]
    if chosen.empty:
        return None
    row = chosen.iloc[0]
    return Score(row["value"], row["ci_low"], row["ci_high"], row["p_value"], int(row["n"]), int(row["dims"]))


def score_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The scores of `SCORES`, for DVC's charts: codec, view, representation, score, value, ci_low, ci_high."""
    keys = pd.Series(list(zip(rows["metric"], rows["label"], strict=True)), index=rows.index, dtype=object)
    chosen = (rows["space"] == "full") & (rows["against"] == "") & keys.isin(SCORES)
    scored = rows.assign(score=keys.map(SCORES))[chosen]
    return scored[["codec", "view", "representation", "score", "value", "ci_low", "ci_high"]].reset_index(drop=True)


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of the projections kept apart minus those of their sum, paired clip by clip."""
    return rows[(rows["representation"] == APART) & (rows["against"] == SUMMED)]


def headline(rows: pd.DataFrame) -> dict[str, float]:
    """`<codec>.<view>.<metric>_<label>` of `differences`."""
    return {
        f"{row['codec']}.{row['view']}.{row['metric']}_{row['label']}": float(row["value"])
        for row in differences(rows).to_dict("records")
    }


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Claims about the words' clusters, judged: claim, codec, view, value, low, high, bound, verdict, p_value.

    For each score of words whether the projections kept apart exceed their sum; and for the projections kept apart
    whether the clips of one word, or of one speaker, form clusters (mean silhouette above 0; its p-value is that of
    permuted labels).
    """
    judged = []
    paired = differences(rows)
    for row in paired[paired["label"] == "word"].to_dict("records"):
        name = SCORES[row["metric"].removesuffix("_difference"), row["label"]]
        judged.append(_judge(f"{name}: {APART} above {SUMMED}", row))
    apart = rows[(rows["representation"] == APART) & (rows["metric"] == "silhouette") & (rows["space"] == "full")]
    for row in apart[apart["label"].isin(["word", "speaker"])].to_dict("records"):
        judged.append(_judge(f"{SCORES['silhouette', row['label']]} of {APART} above 0", row))
    return verdict_frame(judged, "codec", "view").join(pd.DataFrame(judged, columns=["p_value"]))


def _judge(claim: str, row: Mapping[Any, Any]) -> dict[str, Any]:
    estimate = Estimate(row["value"], row["ci_low"], row["ci_high"])
    return {**judge(claim, estimate, 0.0, codec=row["codec"], view=row["view"]), "p_value": row["p_value"]}


def names(rows: pd.DataFrame, column: str) -> list[str]:
    """Entries of a column in order of appearance."""
    return list(dict.fromkeys(rows[column]))


def representations(rows: pd.DataFrame, *, layers: bool = False) -> list[str]:
    """Representations in order of appearance: single RVQ layers, or all others."""
    return [name for name in names(rows, "representation") if name.startswith(LAYER) == layers]


def aliases(rows: pd.DataFrame, codec: str) -> dict[str, str]:
    """Representations of a codec that coincide with another one, and that one."""
    same = rows[(rows["codec"] == codec) & (rows["same_as"] != "")]
    return dict(zip(same["representation"], same["same_as"], strict=True))


def markdown_tables(rows: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The verdicts; for each view the scores, then dimensions, rank and explained variance."""
    shown = judged.assign(verdict=judged["verdict"] + [f" (p = {p:.3g})" if p == p else "" for p in judged["p_value"]])
    parts = ["# Codec geometry", "## Verdicts"]
    parts.append(verdict_markdown(shown.drop(columns="p_value")) if len(judged) else NO_WORDS)
    for view in names(rows, "view"):
        clips = int(rows.loc[rows["view"] == view, "n"].max())
        parts += [f"## View `{view}`, {clips} clips", _table(rows, view, _score_cells), _table(rows, view, _rank_cells)]
    return "\n\n".join(parts) + "\n"


def _table(rows: pd.DataFrame, view: str, cells: Any) -> str:
    chosen = rows[(rows["view"] == view) & ~rows["representation"].str.startswith(LAYER)]
    pairs = chosen[["codec", "representation"]].drop_duplicates().itertuples(index=False, name=None)
    lines = [
        {"codec": codec, "representation": name, **row}
        for codec, name in pairs
        if (row := cells(rows, codec, view, name))
    ]
    return markdown(pd.DataFrame(lines), text_columns=2)


def _score_cells(rows: pd.DataFrame, codec: str, view: str, name: str) -> dict[str, str]:
    titles = {**SCORES, ("davies_bouldin", "word"): "Davies-Bouldin by word"}
    scored = {title: look_up(rows, codec, view, name, metric, label=label) for (metric, label), title in titles.items()}
    return {title: score.text if score else "" for title, score in scored.items()}


def _rank_cells(rows: pd.DataFrame, codec: str, view: str, name: str) -> dict[str, str]:
    rank, bound = (look_up(rows, codec, view, name, metric, label="") for metric in ("rank", "rank_bound"))
    if not (rank and bound):
        return {}
    cells = {"dimensions": f"{rank.dims:,}", "rank bound": f"{bound.value:g}", "measured rank": f"{rank.value:g}"}
    for size in (2, 3):
        share = look_up(rows, codec, view, name, "explained_variance", label="", space=f"pca_{size}")
        cells[f"PCA {size}D, %"] = f"{100 * share.value:.1f}" if share else ""
    return cells


def draw(rows: pd.DataFrame, *, confidence: float = 0.95) -> Iterator[tuple[str, Figure]]:
    """All figures of all codecs together, by name."""
    for view in names(rows, "view"):
        yield f"scores_{view}", draw_scores(rows, view, confidence=confidence)
        layers = draw_layers(rows, view, confidence=confidence)
        if layers:
            yield f"layers_{view}", layers


def draw_scores(rows: pd.DataFrame, view: str, *, confidence: float = 0.95) -> Figure:
    """A panel a score of `SCORES` in the full space: representations along x, codecs side by side, null levels in grey.

    `rows` is from `table`, with at least one row of `view`.
    """
    rows = _full_space(rows, view)
    kept = representations(rows)
    return _draw(rows, kept, [name.replace("_", "\n", 1) for name in kept], view, confidence, "representation")


def draw_layers(rows: pd.DataFrame, view: str, *, confidence: float = 0.95) -> Figure | None:
    """The same for single RVQ layers; None where no layer was scored."""
    rows = _full_space(rows, view)
    kept = representations(rows, layers=True)
    if not kept:
        return None
    kept.sort(key=lambda name: int(name.removeprefix(LAYER)))
    return _draw(rows, kept, [name.removeprefix(LAYER) for name in kept], view, confidence, "RVQ layer alone")


def _full_space(rows: pd.DataFrame, view: str) -> pd.DataFrame:
    return rows[(rows["view"] == view) & (rows["space"] == "full") & (rows["against"] == "")]


def _draw(
    rows: pd.DataFrame, kept: Sequence[str], ticks: Sequence[str], view: str, confidence: float, along: str
) -> Figure:
    looks = codec_looks(names(rows, "codec"))
    clips = int(rows.loc[rows["metric"].isin([metric for metric, _ in SCORES]), "n"].max())
    with style():
        figure = new_figure(13, 7.2)
        panels = figure.subplots(2, 3, sharex=True).ravel()
        for axes, ((metric, label), title) in zip(panels, SCORES.items(), strict=True):
            part = rows[rows["label"] == label]
            _draw_panel(axes, part[part["metric"] == metric], kept, looks, joined=along != "representation")
            _draw_null(axes, part[part["metric"] == CHANCE.get(metric, f"{metric}_null")], kept, looks)
            axes.use_sticky_edges = False  # or the lowest null stands on the frame
            axes.set_title(title, loc="left")
            axes.set_ylabel(LABELS[metric])
        for axes in panels:
            axes.set_xticks(range(len(kept)), ticks, fontsize="x-small")
            axes.set_xlim(-0.5, len(kept) - 0.5)
        for axes in panels[3:]:
            axes.set_xlabel(along)
        figure.suptitle(
            f"Do words cluster? View {view}, {clips} clips, by {along}", x=0.01, ha="left", fontweight="bold"
        )
        _add_legend(figure, looks, confidence)
        return figure


def _places(kept: Sequence[str], looks: Mapping[str, Any], codec: str) -> dict[str, float]:
    """Where on the x axis a codec's representations stand."""
    step = SPREAD / max(len(looks) - 1, 1)
    shift = step * list(looks).index(codec) - SPREAD / 2 * (len(looks) > 1)
    return {name: place + shift for place, name in enumerate(kept)}


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, kept: Sequence[str], looks: Mapping[str, Mapping[str, Any]], *, joined: bool
) -> None:
    for codec, look in looks.items():
        places = _places(kept, looks, codec)
        part = rows[(rows["codec"] == codec) & rows["representation"].isin(kept)]
        x = part["representation"].map(places).astype(float)
        axes.vlines(x, part["ci_low"], part["ci_high"], color=look["color"], linewidth=1.2, zorder=2)
        line = look if joined else {**look, "linestyle": ""}
        axes.plot(x.to_numpy(), part["value"].to_numpy(), label=codec, zorder=2.5, **line)


def _draw_null(axes: Axes, rows: pd.DataFrame, kept: Sequence[str], looks: Mapping[str, Any]) -> None:
    """A short grey line at the null level of each score, and a grey bar where that has an interval."""
    half = SPREAD / (2 * max(len(looks), 2))
    for codec in looks:
        part = rows[(rows["codec"] == codec) & rows["representation"].isin(kept)]
        x = part["representation"].map(_places(kept, looks, codec)).to_numpy(dtype=float)
        axes.hlines(part["value"], x - half, x + half, color=GREY, linewidth=1.3, zorder=1.6)
        spread = np.isfinite(part["ci_low"].to_numpy(dtype=float))
        axes.bar(
            x[spread],
            (part["ci_high"] - part["ci_low"]).to_numpy()[spread],
            bottom=part["ci_low"].to_numpy()[spread],
            width=2 * half,
            color="0.85",
            zorder=1.5,
        )


def _add_legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]], confidence: float) -> None:
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], label=codec.replace("_", " "), **look) for codec, look in looks.items()]
    interval = f"{100 * confidence:g} % interval, resampled by speaker"
    keys += [
        Line2D([], [], label=interval, color=GREY, marker="|", linestyle="", markersize=9),
        Line2D([], [], label="null: labels permuted, random ranking, most frequent word", color=GREY, linewidth=1.3),
    ]
    figure.legend(handles=keys, loc="outside lower left", ncols=3, handlelength=3)
