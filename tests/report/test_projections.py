from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from phonoscope.drawing import HUES
from phonoscope.report.projections import TSNE_CAUTION, Projection, draw_image, draw_interactive, word_groups
from tests.report.planted import assert_legend_is_free

WORDS = ["zero", "one", "two", "yes", "no", "three", "four", "five", "six"]
CLIPS = pd.DataFrame({"word": np.repeat(WORDS, 2), "speaker": ["ada", "ben"] * 9})
CLIPS["utterance"] = [f"clip-{index}" for index in range(18)]
RNG = np.random.default_rng(0)
PROJECTIONS = [
    Projection("pca", RNG.normal(size=(18, 2)), "37.7 % of the variance"),
    Projection("pca", RNG.normal(size=(18, 3)), "44.1 % of the variance"),
    Projection("tsne", RNG.normal(size=(18, 2)), "perplexity 17"),
    Projection("tsne", RNG.normal(size=(18, 3)), "perplexity 17"),
]
ALONE = pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda projection: projection.name)


def values(trace: Any, axes: str) -> np.ndarray:
    return np.stack([np.asarray(trace[axis], dtype=np.float32) for axis in axes], axis=1)


@ALONE
def test_every_clip_is_drawn_where_it_lies_and_tells_who_says_what(projection: Projection) -> None:
    figure = draw_interactive([projection], CLIPS, title="dac")
    axes = "xyz"[: projection.dims]
    drawn = {}
    for trace in figure.data:
        assert trace.type == ("scatter" if projection.dims == 2 else "scatter3d")
        assert all(word == trace.name for _, _, word in trace.customdata)
        for told, point in zip(trace.customdata, values(trace, axes), strict=True):
            drawn[told[0]] = (told[1], told[2], *point)
    clips = zip(CLIPS.itertuples(), projection.coordinates.astype(np.float32), strict=True)
    assert drawn == {clip.utterance: (clip.speaker, clip.word, *point) for clip, point in clips}
    assert all(part in figure.data[0].hovertemplate for part in ("customdata[0]", "speaker", "word"))
    assert projection.note in figure.layout.title.text


@ALONE
def test_images_show_the_same_points(projection: Projection) -> None:
    figure = draw_image([projection], CLIPS, title="dac")
    (axes,) = figure.axes
    drawn: list[Any] = list(axes.collections)
    points = [each.get_offsets() if projection.dims == 2 else np.stack(each._offsets3d, axis=1) for each in drawn]
    expected = [projection.coordinates[group.rows] for group in word_groups(CLIPS)]
    for shown, own in zip(points, expected, strict=True):
        np.testing.assert_allclose(np.asarray(shown), own)
    assert (axes.get_xlabel(), axes.get_ylabel()) == tuple(projection.axes.values())[:2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == sorted(WORDS)


def test_the_dashboard_has_all_four_under_one_legend() -> None:
    figure = draw_interactive(PROJECTIONS, CLIPS, title="dac")
    assert len(figure.data) == 4 * len(WORDS)
    assert [trace.name for trace in figure.data if trace.showlegend] == sorted(WORDS)
    assert all(trace.legendgroup == trace.name for trace in figure.data)
    kinds = [trace.type for trace in figure.data[:: len(WORDS)]]
    assert kinds == ["scatter", "scatter3d", "scatter", "scatter3d"]
    titles = [note.text for note in figure.layout.annotations]
    assert titles == [projection.title for projection in PROJECTIONS]
    assert (figure.layout.xaxis2.title.text, figure.layout.scene2.zaxis.title.text) == ("t-SNE 1", "t-SNE 3")
    image = draw_image(PROJECTIONS, CLIPS, title="dac")
    assert [axes.get_title(loc="left") for axes in image.axes] == titles
    assert len(draw_interactive(PROJECTIONS[:3], CLIPS, title="dac").data) == 3 * len(WORDS)
    assert len(draw_image(PROJECTIONS[:3], CLIPS, title="dac").axes) == 3


def test_only_t_sne_carries_the_caution() -> None:
    for projection in PROJECTIONS:
        shown = TSNE_CAUTION in draw_interactive([projection], CLIPS, title="dac").layout.title.text
        legend = draw_image([projection], CLIPS, title="dac").legends[0].get_title().get_text()
        assert shown == (TSNE_CAUTION in legend.replace("\n", " ")) == (projection.method == "tsne")


def test_words_that_share_a_hue_differ_in_shape() -> None:
    looks = [(group.hue, group.turn) for group in word_groups(CLIPS)]
    assert len(set(looks)) == len(WORDS) > len(HUES)
    traces = draw_interactive(PROJECTIONS[:1], CLIPS, title="dac").data
    assert len({(trace.marker.color, trace.marker.symbol) for trace in traces}) == len(WORDS)


@pytest.mark.parametrize("shown", [PROJECTIONS, PROJECTIONS[3:]])
def test_nothing_of_an_image_lies_outside_it_or_over_the_legend(shown: list[Projection]) -> None:
    figure = draw_image(shown, CLIPS, title="dac")
    assert_legend_is_free(figure)
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
