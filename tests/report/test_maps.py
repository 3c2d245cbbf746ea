from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from phonoscope.geometry.maps import CodeMap
from phonoscope.report.maps import COLUMNS, PALE, Panel, draw_classes, draw_values, table

MAP = CodeMap(np.arange(3), np.array([[-0.5, 0.0], [0.0, 0.2], [0.5, 0.0]]), 2, 0.87, 1)
CODES = np.array([0, 1, 2, 2])
PANELS = [Panel("encodec", layer, CODES, MAP) for layer in (1, 2)] + [Panel("dac", 2, CODES, None)]
HUES = {"vowel": "#0072b2", "silence": PALE.lower()}
LABELS = {codec: ["vowel", "silence", "vowel", "silence"] for codec in ("encodec", "dac")}


def dots(axes: mpl.axes.Axes) -> list[str]:
    return [to_hex(colour) for colour in axes.collections[0].get_facecolors()]  # type: ignore[attr-defined]


def test_a_panel_a_layer_with_its_codes_and_trustworthiness() -> None:
    figure = draw_classes(PANELS, LABELS, HUES, "Frames")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == [f"encodec, layer {layer}\n3 codes, trustworthiness 0.87" for layer in (1, 2)]
    assert titles[2:] == ["", "dac, layer 2: too few codes in use"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["vowel", "silence"]
    assert not figure.axes[3].collections


def test_the_table_has_a_row_a_map() -> None:
    rows = table(PANELS)
    assert tuple(rows) == COLUMNS
    assert rows.to_numpy().tolist() == [["encodec", layer, 4, 3, 2, 1, 0.87] for layer in (1, 2)]


def test_frames_have_their_class_s_colour_and_pale_ones_lie_below() -> None:
    axes = draw_classes(PANELS, LABELS, {"vowel": "#0072B2", "silence": PALE}, "Frames").axes[0]
    assert dots(axes) == [PALE.lower()] * 2 + ["#0072b2"] * 2
    places = axes.collections[0].get_offsets()
    assert np.abs(np.asarray(places)[2] - MAP.places[0]).max() < 0.2


def test_values_span_their_percentiles_and_missing_ones_are_pale() -> None:
    values = {codec: np.array([100.0, np.nan, 200.0, 150.0]) for codec in ("encodec", "dac")}
    figure = draw_values(PANELS, values, "Frames by F0", "F0 (Hz)")
    coolwarm = mpl.colormaps["coolwarm"]
    assert dots(figure.axes[0]) == [PALE.lower(), *(to_hex(coolwarm(share)) for share in (0.0, 1.0, 0.5))]
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "F0 (Hz)"
    np.testing.assert_allclose(bar.get_ylim(), np.percentile([100, 150, 200] * 2, [5, 95]))
    empty = draw_values(PANELS, {codec: np.full(4, np.nan) for codec in values}, "Frames by F0", "F0 (Hz)")
    assert dots(empty.axes[0]) == [PALE.lower()] * 4
