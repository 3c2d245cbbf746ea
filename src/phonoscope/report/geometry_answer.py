"""The notebook's open question in one paragraph of Markdown: does keeping each projection apart beat summing them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from phonoscope.report.comparison import fixed
from phonoscope.report.geometry_table import Score, aliases, look_up, names

APART, SUMMED, CODES = "projections_concat", "latent_sum", "codes_concat"
MEASURES = {
    "silhouette": "silhouette",
    "map_at_r": "mAP@R",
    "nn_accuracy": "1-NN accuracy",
    "probe_accuracy": "linear probe",
}
SIGNIFICANT = 0.05
NO_WORDS = "The corpus has no isolated words, so there is nothing to cluster.\n"
QUESTION = f"**Does keeping each codebook's projection apart (`{APART}`) beat summing them (`{SUMMED}`)?**"


def geometry_answer(table: pd.DataFrame, *, confidence: float = 0.95) -> str:
    """One paragraph, closed by a newline: all views in short, then each codec on the view with the most clips.

    `table` is `geometry_table.combine_geometry`'s. A measure speaks for one side if its paired interval excludes 0.
    """
    if table.empty:
        return NO_WORDS
    views = names(table, "view")
    view = max(views, key=lambda name: _clips(table, name))
    codecs = names(table[table["view"] == view], "codec")
    sentences = [sentence for codec in codecs for sentence in _codec(table, codec, view)]
    reading = (
        f"(Of view `{view}`, {_clips(table, view)} clips, in the full space; differences are paired by clip, "
        f"{100 * confidence:g} % intervals in brackets are resampled by speaker, p-values come from permuted labels; "
        "retrieval and probe know other speakers only.)"
    )
    tallies = [_tally(table, name) for name in views]
    return " ".join([QUESTION, _overall(table, view), *tallies, *sentences, *_ranks(table, view), reading]) + "\n"


def _clips(table: pd.DataFrame, view: str) -> int:
    return int(table.loc[(table["view"] == view) & (table["metric"] == "chance"), "n"].max())


def _differences(table: pd.DataFrame, codec: str, view: str) -> dict[str, Score]:
    """By measure, projections kept apart minus their sum."""
    found = {metric: look_up(table, codec, view, APART, f"{metric}_difference", against=SUMMED) for metric in MEASURES}
    return {metric: score for metric, score in found.items() if score}


def _direction(score: Score) -> int:
    """1 or -1 where the interval lies above or below 0, else 0."""
    return int(score.low > 0) - int(score.high < 0)


def _directions(table: pd.DataFrame, view: str) -> list[int]:
    """Of every codec and measure."""
    codecs = names(table[table["view"] == view], "codec")
    return [_direction(score) for codec in codecs for score in _differences(table, codec, view).values()]


def _overall(table: pd.DataFrame, view: str) -> str:
    """Yes or no, if most comparisons speak for one side and none for the other."""
    found = _directions(table, view)
    for side, said in ((1, "**Yes.**"), (-1, "**No, summing is better.**")):
        if found.count(side) > len(found) / 2 and -side not in found:
            return said
    return "**Not in general.**"


def _tally(table: pd.DataFrame, view: str) -> str:
    """How many comparisons of a view speak for either side."""
    found = _directions(table, view)
    sides = f"{found.count(1)} favour keeping apart, {found.count(-1)} summing, {found.count(0)} neither"
    return f"View `{view}` ({_clips(table, view)} clips): of {len(found)} comparisons (measures by codecs), {sides}."


def _codec(table: pd.DataFrame, codec: str, view: str) -> Iterator[str]:
    """What one codec says: the differences, and how well words cluster at all."""
    told = _differences(table, codec, view)
    if not told:
        yield f"{codec}: `{APART}` and `{SUMMED}` were not both scored."
        return
    scored = "; ".join(_difference(table, codec, view, metric, score) for metric, score in told.items())
    yield f"{codec}: **{_verdict(told)}** ({scored})."
    by_word, by_speaker = (
        look_up(table, codec, view, APART, "silhouette", label=label) for label in ("word", "speaker")
    )
    if by_word:
        beside = f", by speaker {by_speaker.text}{_p(by_speaker)}" if by_speaker else ""
        yield f"Its words {_clustering(by_word)}: silhouette {by_word.text}{_p(by_word)}{beside}."


def _verdict(found: Mapping[str, Score]) -> str:
    sides = {
        side: [MEASURES[metric] for metric, score in found.items() if _direction(score) == side] for side in (1, -1)
    }
    said = [
        f"{answer} by {_listed(sides[side])}"
        for side, answer in ((1, "yes"), (-1, "no, the sum is better"))
        if sides[side]
    ]
    return "; ".join(said) or "not measurably"


def _clustering(score: Score) -> str:
    """A silhouette is 1 for clusters apart, 0 for overlapping ones, below 0 for clips nearer to another word's."""
    shape = "form clusters" if score.low > 0 else "form no clusters" if score.high < 0 else "overlap"
    return (
        f"{shape}, though nearer together than by chance" if score.p_value < SIGNIFICANT and score.low <= 0 else shape
    )


def _difference(table: pd.DataFrame, codec: str, view: str, metric: str, score: Score) -> str:
    apart, summed = (look_up(table, codec, view, name, metric) for name in (APART, SUMMED))
    values = f"{fixed(apart.value)} against {fixed(summed.value)}, " if apart and summed else ""
    return f"{MEASURES[metric]} {values}difference {score.text}"


def _p(score: Score) -> str:
    return "" if pd.isna(score.p_value) else f" (p = {score.p_value:.3g})"


def _ranks(table: pd.DataFrame, view: str) -> Iterator[str]:
    """Why there is so little to gain: what the dimensions can hold, measured."""
    for codec in names(table[table["view"] == view], "codec"):
        if APART in aliases(table, codec):
            continue
        apart, summed, codes = (look_up(table, codec, view, name, "rank", label="") for name in (APART, SUMMED, CODES))
        mean = look_up(table, codec, view, "codes_mean", "rank", label="")
        bound = look_up(table, codec, view, APART, "rank_bound", label="")
        if not (apart and summed and codes and mean and bound):
            continue
        yield (
            f"What {codec}'s projections put into {apart.dims:,} dimensions are affine images of "
            f"{codes.dims // mean.dims} codes of {mean.dims} dimensions: their rank is at most {bound.value:g}, and on "
            f"{apart.n} clips it is {apart.value:g}, that of the {codes.dims} dimensions of `{CODES}` {codes.value:g}, "
            f"and that of the sum {summed.value:g} of {summed.dims:,}."
        )
    same = [codec for codec in names(table, "codec") if APART in aliases(table, codec)]
    if same:
        verb = "project" if len(same) > 1 else "projects"
        alias = f"`{APART}` is `{CODES}` there, and `{SUMMED}` a multiple of the mean code"
        yield f"{_listed(same)} {verb} nothing: {alias}."


def _listed(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else items[0]
