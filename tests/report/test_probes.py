from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from phonoscope.drawing import HUES, codec_looks, png
from phonoscope.errors import DataError
from phonoscope.report import probes as report
from phonoscope.report.summary import distillation_headline
from tests.report.planted import (
    MEASURES,
    NOTHING,
    Means,
    Probed,
    Values,
    assert_legend_is_free,
    codec_table,
    distilled,
    probes,
    results,
)

LONG, SHORT = {"phone": [0.3, 0.2, 0.1]}, {"phone": [0.1, 0.4], "pitch": [-0.2, 0.05]}


def test_controls_stand_beside_the_probe_that_they_belong_to() -> None:
    parts = {"b": codec_table("b", SHORT, rank=True), "a": codec_table("a", LONG)}
    combined = report.table(parts)
    assert list(combined) == list(report.COLUMNS)
    assert len(combined) == 3 * 2 * 2 * 2 + 3 * 2
    assert combined["codec"].drop_duplicates().tolist() == ["b", "a"]
    row = combined.query("codec == 'b' and task == 'pitch' and measure == 'mae' and layer == 2")
    assert row[["probe", "value", "permuted", "lookup", "majority"]].to_numpy().tolist() == [
        ["linear", 5.0, 2.5, 10.0, 0.5],
        ["rank_1", 1.25, 2.5, 10.0, 0.5],
        ["rank_8", 2.5, 2.5, 10.0, 0.5],
    ]
    shuffled = {codec: part.sample(frac=1, random_state=0) for codec, part in parts.items()}
    assert set(map(tuple, report.table(shuffled).to_numpy())) == set(map(tuple, combined.to_numpy()))


def test_best_is_the_largest_score_but_the_smallest_error() -> None:
    combined = probes({"a": {"phone": [0.2, 0.4, 0.4], "pitch": [0.3, 0.1, 0.2]}})
    assert report.best(report.scores(combined, "a", "phone", "macro_f1"), "macro_f1").layer == 2
    assert report.best(report.scores(combined, "a", "pitch", "r2"), "r2").layer == 1
    assert report.best(report.scores(combined, "a", "pitch", "mae"), "mae").layer == 2
    assert report.scores(combined, "a", "speaker", "macro_f1") == []


def cells(text: str, title: str) -> list[list[str]]:
    lines = text.split(f"## {title}\n\n")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_markdown_marks_each_codecs_best_layer_and_fits_that_have_not_converged() -> None:
    combined = probes({"a": {**LONG, "pitch": [0.3, 0.1]}, "b": SHORT})
    combined.loc[(combined["codec"] == "a") & (combined["layer"] == 3), "converged"] = False
    values = {"a": {**LONG, "pitch": [0.3, 0.1]}, "b": SHORT}
    text = report.markdown_tables(combined, report.verdicts(combined, results(values), NOTHING, 0.95))
    assert cells(text, "Phone, macro-F1")[2:] == [
        ["1", "**0.300** [0.290, 0.310]", "0.100 [0.090, 0.110]"],
        ["2", "0.200 [0.190, 0.210]", "**0.400** [0.390, 0.410]"],
        ["3", "0.100 [0.090, 0.110]†", ""],
    ]
    beside = cells(text, "Side by side")
    assert beside[0][1:5] == ["phone, a, macro-F1", "phone, a, accuracy", "phone, b, macro-F1", "phone, b, accuracy"]
    assert beside[2] == ["1", "**0.300**", "**0.300**", "0.100", "0.100", "30.0", "**0.300**", "**−20.0**", "−0.200"]


PLATEAU = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.39, 0.4]
FALL = [0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1]
S, R, U = "supported", "refuted", "undecided"


def judged(codec: str, values: Values, half: float = 0.001) -> list[str]:
    """Verdicts on the study's expectations; the last row is about the majority class or the mean."""
    codecs = {codec: values}
    rows = report.verdicts(probes(codecs), results(codecs, half=half), NOTHING, 0.95)
    assert list(rows) == ["claim", "codec", "layer", "value", "low", "high", "bound", "verdict"]
    return rows["verdict"].tolist()[: -len(values)]


@pytest.mark.parametrize(
    ("codec", "task", "values", "half", "expected"),
    [
        ("encodec", "phone", PLATEAU, 0.001, [S, S]),
        ("encodec", "phone", PLATEAU[:4] + [0.1] * 4, 0.001, [S, R]),
        ("encodec", "phone", PLATEAU, 0.5, [U, U]),
        ("encodec", "phone", FALL, 0.001, [R, R]),
        ("encodec", "phone", [0.1], 0.001, [S]),
        ("speechtokenizer", "phone", [0.41, 0.2, 0.1], 0.001, [S]),
        ("speechtokenizer", "phone", [0.41, 0.2, 0.1], 0.05, [U]),
        ("speechtokenizer", "phone", [0.2, 0.2, 0.1], 0.001, [R]),
        ("speechtokenizer", "phone", [0.4], 0.001, []),
        ("speechtokenizer", "speaker", [0.1, 0.1, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1], 0.01, [S]),
        ("encodec", "speaker", [0.1, 0.1, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1], 0.2, [U]),
        ("encodec", "speaker", FALL, 0.01, [R]),
        ("encodec", "pitch", [0.08, 0.02], 0.01, [S]),
        ("encodec", "pitch", [0.08, 0.02], 0.03, [U]),
        ("speechtokenizer", "pitch", [0.02, 0.2], 0.01, [R]),
        ("dac", "pitch", [0.02, 0.2], 0.01, []),
    ],
)
def test_expectations_of_the_study(
    codec: str, task: str, values: list[float], half: float, expected: list[str]
) -> None:
    assert judged(codec, {task: values}, half) == expected


def test_the_published_numbers_get_the_verdicts_of_the_study() -> None:
    """Macro-F1 and R2 of the study's table 1, with intervals far smaller than its differences."""
    encodec = {
        "phone": [0.037, 0.030, 0.015, 0.014, 0.015, 0.007, 0.014, 0.010],
        "speaker": [0.013, 0.010, 0.008, 0.006, 0.006, 0.005, 0.004, 0.004],
        "pitch": [0.023, 0.030, 0.018, 0.012, 0.008, 0.005, 0.003, 0.002],
    }
    speechtokenizer = {
        "phone": [0.338, 0.068, 0.062, 0.051, 0.045, 0.044, 0.043, 0.037],
        "speaker": [0.016, 0.049, 0.031, 0.028, 0.022, 0.021, 0.017, 0.018],
        "pitch": [0.068, 0.098, 0.036, 0.025, 0.018, 0.013, 0.012, 0.009],
    }
    assert judged("encodec", encodec, half=0.0005) == [R, R, R, S]
    assert judged("speechtokenizer", speechtokenizer, half=0.0005) == [S, R, S]


def test_the_best_layer_is_judged_against_the_reference_of_its_task() -> None:
    codecs: dict[str, Values] = {"dac": {"speaker": [0.1, 0.4], "pitch": [0.0, -0.1]}}
    rows = report.verdicts(probes(codecs), results(codecs), NOTHING, 0.95)
    assert rows[["layer", "bound", "verdict"]].to_numpy().tolist() == [[2, 0.005, S], [1, 0.005, U]]


def test_distillation_is_judged_by_its_paired_interval() -> None:
    numbers = {(task, name): (1.3, 1.2, 1.4) for task in ("phone", "speaker") for name in ("macro_f1", "accuracy")}
    codecs: dict[str, Values] = {"dac": {"phone": FALL}}
    rows = report.verdicts(probes(codecs), results(codecs), distilled(numbers), 0.95)
    assert rows["verdict"].tolist() == [S, S, S, S, R, S, S]
    assert rows["bound"].tolist()[:-1] == [1, 1.1, 1, 1, 1.1, 1]
    frame = distilled({("phone", "macro_f1"): (1.3, 1.2, 1.4)})
    frame[["ratio", "ratio_low", "ratio_high"]] = np.nan
    row = report.verdicts(probes(codecs), results(codecs), frame, 0.95).iloc[0]
    assert row[["value", "low", "high", "bound", "verdict"]].tolist() == pytest.approx([0.06, 0.04, 0.08, 0, S])


def compared(first: NDArray[np.float64], second: NDArray[np.float64], measure: str = "macro_f1") -> pd.DataFrame:
    """`x` against `x_undistilled`, which has one layer more."""
    names = [str(n) for n in range(len(first))]
    pairs: Any = {
        ("x", "phone"): Probed(names, [Means(first, [measure])]),
        ("x_undistilled", "phone"): Probed(names, [Means(second, [measure])] * 2),
        ("y", "phone"): Probed(names, [Means(first, [measure])]),
    }
    return report.distillation(pairs, confidence=0.9)


def test_ratio_and_difference_are_of_the_same_utterances() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0.5, 1, 30), rng.uniform(0.2, 0.6, 30)
    frame = compared(first, second)
    assert frame.columns.tolist() == report.DISTILLATION
    assert frame[["codec", "layer"]].to_numpy().tolist() == [["x", 1]]
    row = frame.iloc[0]
    assert row["ratio"] == pytest.approx(first.mean() / second.mean())
    expected = ttest_1samp(first - second, 0).confidence_interval(0.9)
    low, high = row["difference_low"], row["difference_high"]
    assert [low, high] == pytest.approx([expected.low, expected.high], rel=0.1)
    gradient = first / first.mean() - second / second.mean()  # of the logarithm of the ratio, by the delta method
    reach = 1.7 * gradient.std(ddof=1) / np.sqrt(30)
    assert np.log([row["ratio_low"], row["ratio_high"]]) == pytest.approx(
        np.log(row["ratio"]) + np.array([-reach, reach]), abs=0.1 * reach
    )
    headline = distillation_headline(frame)
    assert headline["x_phone_ratio"] == row["ratio"]
    assert set(headline) == {f"x_phone_ratio{end}" for end in ("", "_low", "_high")}


def test_no_ratio_of_r2_nor_over_zero() -> None:
    values = np.linspace(0.1, 1, 10)
    for frame in (compared(values, values / 2, "r2"), compared(values, 0 * values)):
        assert frame["ratio"].isna().all()
        assert frame["difference"].notna().all()
        assert distillation_headline(frame) == {}


def test_codecs_probed_on_different_utterances_are_refused() -> None:
    pairs: Any = {(f"x{end}", "phone"): Probed([end], [Means(np.ones(1))]) for end in ("", "_undistilled")}
    with pytest.raises(DataError, match="different utterances"):
        report.distillation(pairs, confidence=0.9)


VALUES = {"phone": [0.4, 0.2, 0.1], "speaker": [0.1, 0.3, 0.2], "pitch": [0.3, 0.1, 0.05]}
CODECS = {
    "encodec": VALUES,
    "speechtokenizer": VALUES,
    "speechtokenizer_undistilled": {task: values[:2] for task, values in VALUES.items()},
}
COMBINED = probes(CODECS, rank=True)


def drawn(task: str) -> Figure:
    return report.draw(COMBINED, task, dims=dict.fromkeys(CODECS, 128), confidence=0.9, utterances=42)


@pytest.mark.parametrize("task", MEASURES)
def test_every_codec_is_drawn_in_every_panel(task: str) -> None:
    figure = drawn(task)
    parts = [COMBINED[(COMBINED["task"] == task) & (COMBINED["measure"] == name)] for name in MEASURES[task]]
    layers = [part[part["probe"] == "linear"] for part in parts]
    # of layer 1: one direction, eight, and all 128
    ranks = [part[part["layer"] == 1].sort_values("probe", key=lambda names: names == "linear") for part in parts]
    for axes, expected in zip(figure.axes, [*layers, *ranks], strict=True):
        series = {str(line.get_label()): line for line in axes.lines}
        for codec in CODECS:
            shown = np.asarray(series[codec].get_ydata())
            np.testing.assert_array_equal(shown, expected.loc[expected["codec"] == codec, "value"])
        for line in axes.lines:
            assert np.isfinite(np.asarray(line.get_ydata(), dtype=float)).all()
        bars = np.concatenate([segment for bar in axes.collections for segment in bar.get_segments()])  # type: ignore[attr-defined]
        assert sorted(bars[:, 1]) == pytest.approx(sorted([*expected["low"], *expected["high"]]))
        assert axes.get_ylabel()
    assert np.asarray(series["encodec"].get_xdata()).tolist() == [1, 8, 128]
    assert figure.axes[0].get_xlabel() == figure.axes[1].get_xlabel() == "RVQ layer"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:3] == [f"{codec.replace('_', ' ')} (D = 128)" for codec in CODECS]
    assert labels[3].replace("\n", " ") == "90 % interval, jackknife over 42 utterances"
    assert len(labels) == 7
    assert_legend_is_free(figure)


def test_the_same_bytes_whatever_the_users_settings() -> None:
    first = png(drawn("phone"))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "figure.dpi": 20}):
        assert png(drawn("phone")) == first
        assert mpl.rcParams["font.size"] == 30
    assert b"Software" not in first
    assert imread(io.BytesIO(first)).shape == (1065, 1575, 4)


def test_a_codec_and_its_undistilled_version_share_a_hue_and_differ_in_line() -> None:
    looks = codec_looks(["a", "b", "b_undistilled", "c_undistilled"])
    assert looks["b"]["color"] == looks["b_undistilled"]["color"]
    assert looks["b"]["linestyle"] != looks["b_undistilled"]["linestyle"]
    assert [looks[codec]["color"] for codec in ("a", "b", "c_undistilled")] == list(HUES[:3])
