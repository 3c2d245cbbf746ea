from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread
from phonoscope.report.comparison import TASKS
from phonoscope.report.figures import draw_task

from phonoscope.drawing import HUES, codec_looks, png
from tests.report.planted import table

VALUES = {"phone": [0.4, 0.2, 0.1], "speaker": [0.1, 0.3, 0.2], "pitch": [0.3, 0.1, 0.05]}
CODECS = {
    "encodec": VALUES,
    "speechtokenizer": VALUES,
    "speechtokenizer_undistilled": {task: values[:2] for task, values in VALUES.items()},
}
COMBINED = table(CODECS, matched=True)


@pytest.mark.parametrize("task", TASKS)
def test_every_codec_is_drawn_in_every_panel(task: str) -> None:
    figure = draw_task(COMBINED, task, dims={"encodec": 128}, matched_dims=8, confidence=0.9)
    assert len(figure.axes) == 4
    for axes, metric in zip(figure.axes, TASKS[task] * 2, strict=True):
        series = {str(line.get_label()): line for line in axes.lines}
        assert set(CODECS) <= set(series)
        expected = COMBINED[(COMBINED["task"] == task) & (COMBINED["metric"] == metric)]
        for codec in CODECS:
            drawn = np.asarray(series[codec].get_ydata())
            np.testing.assert_array_equal(drawn, expected.loc[expected["codec"] == codec, "value"])
        for line in axes.lines:
            assert np.isfinite(np.asarray(line.get_ydata(), dtype=float)).all()
        bars = np.concatenate([segment for bar in axes.collections for segment in bar.get_segments()])  # type: ignore[attr-defined]
        assert sorted(bars[:, 1]) == pytest.approx(sorted([*expected["ci_low"], *expected["ci_high"]]))
        assert axes.get_ylabel()
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "RVQ layer", "RVQ layer"]
    assert figure.axes[2].get_title(loc="left") == "rows reduced by PCA to 8 dimensions"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:4] == ["encodec (D = 128)", "speechtokenizer", "speechtokenizer undistilled", "90 % interval"]
    assert len(labels) == 7


def test_units_stand_on_the_pitch_axes() -> None:
    figure = draw_task(table(CODECS), "pitch")
    assert [axes.get_ylabel() for axes in figure.axes] == ["MAE in Hz (lower is better)", "R²"]


def test_the_same_bytes_whatever_the_users_settings() -> None:
    first = png(draw_task(COMBINED, "phone"))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "figure.dpi": 20}):
        assert png(draw_task(COMBINED, "phone")) == first
        assert mpl.rcParams["font.size"] == 30
    assert b"Software" not in first
    assert imread(io.BytesIO(first)).shape == (1065, 1575, 4)


def test_nothing_overlaps_the_legend() -> None:
    figure = draw_task(COMBINED, "speaker", dims=dict.fromkeys(CODECS, 64))
    png(figure)
    legend = figure.legends[0].get_window_extent()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(box and legend.overlaps(box) for box in boxes)
    assert figure.bbox.fully_contains(legend.x0, legend.y0)
    assert figure.bbox.fully_contains(legend.x1, legend.y1)


def test_twins_share_a_hue_and_differ_in_line() -> None:
    looks = codec_looks(["a", "b", "b_undistilled", "c_undistilled"])
    assert looks["b"]["color"] == looks["b_undistilled"]["color"]
    assert looks["b"]["linestyle"] != looks["b_undistilled"]["linestyle"]
    assert [looks[codec]["color"] for codec in ("a", "b", "c_undistilled")] == list(HUES[:3])
