"""Geometry of all codecs: scores, ranks and verdicts; figures of how well words, speakers and sexes cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import false_discovery_control

from phonoscope.drawing import GREY, codec_looks, new_figure, style
from phonoscope.report.figures import Looks, add_title, beside, keys
from phonoscope.report.markdown import intervals, markdown, page
from phonoscope.report.verdict import Estimate, judge, verdict_frame, verdict_markdown

TEXTS = ("codec", "view", "representation", "same_as", "space", "label", "metric", "against")
NUMBERS = ("dims", "value", "ci_low", "ci_high", "p_value", "n")
TESTED = {"word": "words across speakers", "speaker": "speakers across words"}
"""Labels whose separation is tested, and what it compares."""
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
TABULATED = {**SCORES, ("davies_bouldin", "word"): "Davies-Bouldin by word"}
NO_WORDS = "The corpus has no isolated words, so there is nothing to cluster."
SPREAD = 0.5  # width over which a representation's codecs are set side by side
LABELS = {"silhouette": "mean silhouette", "map_at_r": "mAP@R"}  # of a score's axis; the others are accuracies
CHANCE = {"probe_accuracy": "chance"}  # the null level that no permutation gives; of the others it is <score>_null


def table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The codecs' tables in the given order with a column q_value; empty texts are "", undefined numbers NaN."""
    rows = pd.concat(tables.values(), ignore_index=True)[[*TEXTS, *NUMBERS]].astype(dict.fromkeys(NUMBERS, float))
    rows[list(TEXTS)] = rows[list(TEXTS)].astype(object).fillna("").astype(str)
    return rows.assign(q_value=_q_values(rows))


def _q_values(rows: pd.DataFrame) -> pd.Series:
    """Benjamini-Hochberg q-values of `rows`, NaN where nothing was tested.

    A family is the tests of one label in one view, over the representations of all codecs. A representation that
    coincides with another one counts once, and takes its q-value.
    """
    once = rows[rows["p_value"].notna() & (rows["same_as"] == "")]
    q = once.groupby(["view", "label", "metric"])["p_value"].transform(false_discovery_control)
    place = ["codec", "view", "representation", "label", "metric"]
    source = rows["same_as"].where(rows["same_as"] != "", rows["representation"])
    tests = pd.MultiIndex.from_frame(rows.assign(representation=source)[place])
    by_test = pd.Series(q.to_numpy(), pd.MultiIndex.from_frame(once[place])).reindex(tests)
    return pd.Series(by_test.to_numpy(), rows.index, dtype=float).where(rows["p_value"].notna())


def score_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The scores of `SCORES`, for charts: codec, view, representation, score, value, ci_low, ci_high."""
    return _scored(rows, SCORES)[["codec", "view", "representation", "score", "value", "ci_low", "ci_high"]]


def _scored(rows: pd.DataFrame, titles: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """The rows of these scores in the full space, their titles in the column score."""
    named = pd.DataFrame([(*key, title) for key, title in titles.items()], columns=["metric", "label", "score"])
    return rows[(rows["space"] == "full") & (rows["against"] == "")].merge(named, on=["metric", "label"])


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of the projections kept apart minus those of their sum, paired clip by clip."""
    return rows[(rows["representation"] == APART) & (rows["against"] == SUMMED)]


def headline(rows: pd.DataFrame) -> dict[str, float]:
    """`<codec>.<view>.<metric>_<label>` of `differences`."""
    rows = differences(rows)
    names = rows["codec"] + "." + rows["view"] + "." + rows["metric"] + "_" + rows["label"]
    return dict(zip(names, rows["value"].tolist(), strict=True))


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Claims about the words' clusters, judged: claim, codec, view, value, low, high, bound, verdict, p_value, q_value.

    For each score of words, whether the projections kept apart exceed their sum. Whether their clips form clusters by
    word and by speaker (mean silhouette above 0), and whether words are shared across speakers, and speakers' voices
    across words (separation above 0; only these have a p-value).
    """
    paired = differences(rows)
    apart = rows[(rows["representation"] == APART) & (rows["space"] == "full") & (rows["against"] == "")]
    apart = apart[apart["metric"].isin(["silhouette", "separation"]) & apart["label"].isin(list(TESTED))]
    tested = pd.concat([paired[paired["label"] == "word"], apart])
    judged = []
    for row in tested.to_dict("records"):
        metric, label = row["metric"].removesuffix("_difference"), row["label"]
        name = f"Separation of {TESTED[label]}" if metric == "separation" else SCORES[metric, label]
        claim = f"{name}: {APART} above {SUMMED}" if row["against"] else f"{name} of {APART} above 0"
        estimate = Estimate(row["value"], row["ci_low"], row["ci_high"])
        judged.append(judge(claim, estimate, 0.0, codec=row["codec"], view=row["view"]))
    values = {name: tested[name].to_numpy() for name in ("p_value", "q_value")}
    return verdict_frame(judged, "codec", "view").assign(**values)


def aliases(rows: pd.DataFrame, codec: str) -> dict[str, str]:
    """Representations of a codec that coincide with another one, and that one."""
    same = rows[(rows["codec"] == codec) & (rows["same_as"] != "")]
    return dict(zip(same["representation"], same["same_as"], strict=True))


def markdown_tables(rows: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The verdicts; for each view the scores, the tests of separation, then dimensions, rank and explained variance."""
    parts = ["# Codec geometry", "## Verdicts"]
    parts.append(verdict_markdown(judged.drop(columns=["p_value", "q_value"])) if len(judged) else NO_WORDS)
    for view, part in rows.groupby("view", sort=False):
        parts.append(f"## View `{view}`, {int(part['n'].max())} clips")
        part = part[~part["representation"].str.startswith(LAYER)].set_index(["codec", "representation"])
        for cells in (_score_cells(part), _separation_cells(part), _rank_cells(part)):
            in_order = part.index.unique()
            shown = cells.loc[in_order[in_order.isin(cells.index)]].rename_axis(columns=None)
            parts += [markdown(shown.reset_index(), text_columns=2)] if len(shown) else []
    return page(*parts)


def _score_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Every score with its interval; `rows` has codec and representation as its index, like the result."""
    scored = _scored(rows.reset_index(), TABULATED).rename(columns={"ci_low": "low", "ci_high": "high"})
    wide = scored.assign(text=intervals(scored)).pivot(index=rows.index.names, columns="score", values="text")
    return wide.reindex(index=rows.index.unique(), columns=list(TABULATED.values()))


def _separation_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """The separation by word and by speaker with its interval, p and q."""
    columns = {}
    for label, title in TESTED.items():
        tested = rows[(rows["metric"] == "separation") & (rows["label"] == label)]
        texts = intervals(tested.rename(columns={"ci_low": "low", "ci_high": "high"}))
        columns[f"separation of {title}"] = pd.Series(texts, tested.index, dtype=object)
        columns |= {f"{name} ({label})": tested[f"{name}_value"].map("{:.3g}".format) for name in ("p", "q")}
    return pd.DataFrame(columns)


def _rank_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Dimensions, ranks and explained variance of the representations whose rank was measured."""
    whole = rows[rows["label"] == ""].reset_index()
    wide = whole.pivot(index=rows.index.names, columns=["metric", "space"], values="value")
    ranks, shares = [("rank_bound", "full"), ("rank", "full")], [("explained_variance", f"pca_{d}") for d in (2, 3)]
    wide = wide.reindex(columns=ranks + shares).dropna(subset=ranks)
    cells = {"dimensions": rows["dims"].groupby(level=[0, 1]).first()[wide.index].map("{:,.0f}".format)}
    cells |= {"rank bound": wide[ranks[0]].map("{:g}".format), "measured rank": wide[ranks[1]].map("{:g}".format)}
    for title, column in zip(("PCA 2D, %", "PCA 3D, %"), shares, strict=True):
        cells[title] = (100 * wide[column]).map("{:.1f}".format, na_action="ignore")
    return pd.DataFrame(cells)


def draw(rows: pd.DataFrame, confidence: float) -> Iterator[tuple[str, Figure]]:
    """All figures of all codecs together, by name; a view without single layers has no figure of them."""
    for view in dict.fromkeys(rows["view"]):
        yield f"scores_{view}", draw_scores(rows, view, confidence)
        if rows.loc[rows["view"] == view, "representation"].str.startswith(LAYER).any():
            yield f"layers_{view}", draw_scores(rows, view, confidence, layers=True)


@style()
def draw_scores(rows: pd.DataFrame, view: str, confidence: float, *, layers: bool = False) -> Figure:
    """A panel a score of `SCORES` in the full space: representations along x, codecs side by side, null levels in grey.

    `rows` is from `table`, with at least one row of `view`. layers: single RVQ layers along x, instead of the others.
    """
    rows = rows[(rows["view"] == view) & (rows["space"] == "full") & (rows["against"] == "")]
    clips = int(rows.loc[rows["metric"].isin([metric for metric, _ in SCORES]), "n"].max())
    rows = rows[rows["representation"].str.startswith(LAYER) == layers]
    kept = list(dict.fromkeys(rows["representation"]))
    if layers:
        kept.sort(key=lambda name: int(name.removeprefix(LAYER)))
    ticks = [name.removeprefix(LAYER) if layers else name.replace("_", "\n", 1) for name in kept]
    looks, along = codec_looks(list(dict.fromkeys(rows["codec"]))), "RVQ layer alone" if layers else "representation"
    figure = new_figure(13, 7.2)
    panels = figure.subplots(2, 3, sharex=True).ravel()
    for axes, ((metric, label), title) in zip(panels, SCORES.items(), strict=True):
        part = rows[rows["label"] == label].assign(x=rows["representation"].map(kept.index))
        scored, null = (part[part["metric"] == name] for name in (metric, CHANCE.get(metric, f"{metric}_null")))
        _draw_panel(axes, scored, null, looks, joined=layers)
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(kept)), ticks, fontsize="x-small")
        axes.set(ylabel=LABELS.get(metric, "accuracy"), xlim=(-0.5, len(kept) - 0.5))
    for axes in panels[3:]:
        axes.set_xlabel(along)
    add_title(figure, f"Do words cluster? View {view}, {clips} clips, by {along}")
    entries: Looks = {codec.replace("_", " "): look for codec, look in looks.items()} | {
        f"{100 * confidence:g} % interval, jackknife over speakers": {"marker": "|", "linestyle": "", "markersize": 9},
        "null: names permuted, random ranking, most frequent word": {"linewidth": 1.3},
    }
    figure.legend(handles=keys(entries), loc="outside lower left", ncols=3, handlelength=3)
    return figure


def _draw_panel(axes: Axes, scored: pd.DataFrame, null: pd.DataFrame, looks: Looks, *, joined: bool) -> None:
    """Scores with intervals; a short grey line at the null level of each, a grey bar where that has an interval."""
    half = SPREAD / (2 * max(len(looks), 2))
    for codec, shift in beside(looks, SPREAD).items():
        look, part, level = looks[codec], scored[scored["codec"] == codec], null[null["codec"] == codec]
        axes.vlines(part["x"] + shift, part["ci_low"], part["ci_high"], color=look["color"], linewidth=1.2, zorder=2)
        line = look if joined else {**look, "linestyle": ""}
        axes.plot(part["x"] + shift, part["value"], label=codec, zorder=2.5, **line)
        x = level["x"] + shift
        axes.hlines(level["value"], x - half, x + half, color=GREY, linewidth=1.3, zorder=1.6)
        band = level[np.isfinite(level["ci_low"])]
        height = band["ci_high"] - band["ci_low"]
        axes.bar(band["x"] + shift, height, bottom=band["ci_low"], width=2 * half, color="0.85", zorder=1.5)
    axes.use_sticky_edges = False  # or the lowest null stands on the frame
