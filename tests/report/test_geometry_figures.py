from __future__ import annotations

import numpy as np
import pytest
from phonoscope.report.geometry_figures import draw_layers, draw_scores
from phonoscope.report.geometry_table import SCORES, combine_geometry, look_up

from phonoscope.drawing import png
from tests.report.planted_geometry import scores

CODECS = ("dac", "encodec", "speechtokenizer", "speechtokenizer_undistilled")
TABLE = combine_geometry({codec: scores(codec) for codec in CODECS})
NAMES = ("codes_mean", "codes_concat", "latent_sum", "projections_concat")


def test_every_score_is_drawn_with_its_interval() -> None:
    figure = draw_scores(TABLE, "full", confidence=0.9)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(SCORES.values())
    for axes, (metric, label) in zip(figure.axes, SCORES, strict=True):
        for codec in CODECS:
            (line,) = (line for line in axes.lines if line.get_label() == codec)
            found = [look_up(TABLE, codec, "full", name, metric, label=label) for name in NAMES]
            np.testing.assert_array_equal(line.get_ydata(), [score.value for score in found if score])
            assert [round(float(x)) for x in np.asarray(line.get_xdata())] == [0, 1, 2, 3]
        bars = [segment for bar in axes.collections for segment in bar.get_segments()]  # type: ignore[attr-defined]
        upright = [segment for segment in bars if segment[0][0] == segment[1][0]]
        assert len(upright) == len(CODECS) * len(NAMES)
        assert all(segment[1][1] - segment[0][1] == pytest.approx(0.1) for segment in upright)
        assert axes.get_ylabel()
    assert figure.axes[3].get_xticklabels()[0].get_text() == "codes\nmean"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[3:5] == ["speechtokenizer undistilled", "90 % interval, resampled by speaker"]


def null_levels(figure: object, panel: int) -> set[float]:
    axes = figure.axes[panel]  # type: ignore[attr-defined]
    lines = [segment for bar in axes.collections for segment in bar.get_segments()]
    return {float(segment[0][1]) for segment in lines if segment[0][1] == segment[1][1]}


def test_null_levels_are_drawn_where_they_are_known() -> None:
    figure = draw_scores(TABLE, "notebook")
    assert null_levels(figure, 0) == {-0.01}
    band = figure.axes[0].patches
    assert {(round(patch.get_y(), 6), round(patch.get_height(), 6)) for patch in band} == {(-0.02, 0.02)}  # type: ignore[attr-defined]
    assert null_levels(figure, 5) == {0.1}
    assert null_levels(figure, 3) == set()
    named = combine_geometry({"dac": scores("dac").replace("silhouette_null", "map_at_r_null")})
    assert null_levels(draw_scores(named, "notebook"), 3) == {-0.01}


def test_layers_have_a_figure_of_their_own() -> None:
    figure = draw_layers(TABLE, "full")
    assert figure
    assert [text.get_text() for text in figure.axes[3].get_xticklabels()] == ["1"]
    assert figure.axes[3].get_xlabel() == "RVQ layer alone"
    assert draw_layers(TABLE[TABLE["representation"] != "layer_1"], "full") is None


def test_layers_stand_in_the_order_of_their_numbers() -> None:
    table = TABLE.replace({"representation": {"codes_mean": "layer_10", "latent_sum": "layer_2"}})
    figure = draw_layers(table, "full")
    assert figure
    assert [text.get_text() for text in figure.axes[3].get_xticklabels()] == ["1", "2", "10"]


def test_the_same_bytes_and_nothing_over_the_legend() -> None:
    figure = draw_scores(TABLE, "full")
    assert png(figure) == png(draw_scores(TABLE, "full"))
    legend = figure.legends[0].get_window_extent()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(box and legend.overlaps(box) for box in boxes)
    assert figure.bbox.fully_contains(legend.x1, legend.y0)
