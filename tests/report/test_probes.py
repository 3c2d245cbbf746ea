from __future__ import annotations

import io
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from phonoscope.drawing import HUES, codec_looks, png
from phonoscope.errors import DataError
from phonoscope.report import probes as report
from phonoscope.report.summary import distillation_headline
from phonoscope.stats import draw_resamples
from tests.report.planted import MEASURES, NOTHING, Values, assert_legend_is_free, codec_table, distilled, probes

LONG, SHORT = {"phone": [0.3, 0.2, 0.1]}, {"phone": [0.1, 0.4], "pitch": [-0.2, 0.05]}


def test_controls_stand_beside_the_probe_that_they_belong_to() -> None:
    parts = {"b": codec_table("b", SHORT, matched=True), "a": codec_table("a", LONG)}
    combined = report.table(parts)
    assert list(combined) == list(report.COLUMNS)
    assert len(combined) == 2 * 2 * 2 * 2 + 3 * 2
    assert combined["codec"].drop_duplicates().tolist() == ["b", "a"]
    row = combined.query("codec == 'b' and task == 'pitch' and measure == 'mae' and layer == 2")
    assert row[["probe", "value", "permuted", "lookup", "majority"]].to_numpy().tolist() == [
        ["linear", 5.0, 2.5, 10.0, 0.5],
        ["matched", 5.0, 2.5, 10.0, 0.5],
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
    text = report.markdown_tables(combined, report.verdicts(combined, NOTHING))
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
    rows = report.verdicts(probes({codec: values}, half=half), NOTHING)
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
        ("encodec", "speaker", [0.1, 0.1, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1], 0.11, [U]),
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
    rows = report.verdicts(probes({"dac": {"speaker": [0.1, 0.4], "pitch": [0.0, -0.1]}}), NOTHING)
    assert rows[["layer", "bound", "verdict"]].to_numpy().tolist() == [[2, 0.005, S], [1, 0.005, U]]


def test_distillation_is_judged_by_its_paired_interval() -> None:
    numbers = {(task, name): (1.3, 1.2, 1.4) for task in ("phone", "speaker") for name in ("macro_f1", "accuracy")}
    rows = report.verdicts(probes({"dac": {"phone": FALL}}), distilled(numbers))
    assert rows["verdict"].tolist() == [S, S, S, S, R, S, S]
    assert rows["bound"].tolist()[:-1] == [1, 1.1, 1, 1, 1.1, 1]
    frame = distilled({("phone", "macro_f1"): (1.3, 1.2, 1.4)})
    frame[["ratio", "ratio_low", "ratio_high"]] = np.nan
    row = report.verdicts(probes({"dac": {"phone": FALL}}), frame).iloc[0]
    assert row[["value", "low", "high", "bound", "verdict"]].tolist() == pytest.approx([0.06, 0.04, 0.08, 0, S])


@dataclass
class Means:
    """A score that is the mean over utterances."""

    values: NDArray[np.float64]
    measure: str = "macro_f1"

    def scores(self, multiplicity: NDArray[np.float64] | None = None) -> dict[str, NDArray[np.float64]]:
        counts = np.ones((1, len(self.values))) if multiplicity is None else multiplicity
        return {self.measure: counts @ self.values / counts.sum(axis=1)}


@dataclass
class Probed:
    utterances: list[str]
    statistics: list[Means]


def compared(first: NDArray[np.float64], second: NDArray[np.float64], measure: str = "macro_f1") -> pd.DataFrame:
    """`x` against `x_undistilled`, which has one layer more."""
    names = [str(n) for n in range(len(first))]
    results = {
        ("x", "phone"): Probed(names, [Means(first, measure)]),
        ("x_undistilled", "phone"): Probed(names, [Means(second, measure)] * 2),
        ("y", "phone"): Probed(names, [Means(first, measure)]),
    }
    return report.distillation(results, samples=200, confidence=0.9, seed=1)


def test_ratio_is_of_means_over_the_same_resampled_utterances() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0.5, 1, 30), rng.uniform(0.2, 0.6, 30)
    frame = compared(first, second)
    resamples = draw_resamples(30, 200, 1)
    ratios = (resamples @ first) / (resamples @ second)
    differences = resamples @ (first - second) / 30
    assert frame.columns.tolist() == report.DISTILLATION
    assert frame[["codec", "layer"]].to_numpy().tolist() == [["x", 1]]
    row = frame.iloc[0]
    assert row["ratio"] == pytest.approx(first.mean() / second.mean())
    assert [row["ratio_low"], row["ratio_high"]] == pytest.approx(np.quantile(ratios, [0.05, 0.95]))
    assert [row["difference_low"], row["difference_high"]] == pytest.approx(np.quantile(differences, [0.05, 0.95]))
    assert row["p_over_1_1"] == np.mean(ratios > 1.1)
    headline = distillation_headline(frame)
    assert headline["x_phone_ratio"] == row["ratio"]
    assert set(headline) == {f"x_phone_ratio{end}" for end in ("", "_low", "_high", "_p_over_1_1")}


def test_no_ratio_of_r2_nor_over_zero() -> None:
    values = np.linspace(0.1, 1, 10)
    for frame in (compared(values, values / 2, "r2"), compared(values, 0 * values)):
        assert frame["ratio"].isna().all()
        assert frame["difference"].notna().all()
        assert distillation_headline(frame) == {}
    row = compared(np.full(3, 0.4), np.array([0.6, 0.0, 0.0])).iloc[0]  # some resamples have no ratio
    assert np.isfinite([row["ratio_low"], row["ratio_high"]]).all()


def test_codecs_probed_on_different_utterances_are_refused() -> None:
    results = {(f"x{end}", "phone"): Probed([end], [Means(np.ones(1))]) for end in ("", "_undistilled")}
    with pytest.raises(DataError, match="different utterances"):
        report.distillation(results, samples=2, confidence=0.9, seed=1)


VALUES = {"phone": [0.4, 0.2, 0.1], "speaker": [0.1, 0.3, 0.2], "pitch": [0.3, 0.1, 0.05]}
CODECS = {
    "encodec": VALUES,
    "speechtokenizer": VALUES,
    "speechtokenizer_undistilled": {task: values[:2] for task, values in VALUES.items()},
}
COMBINED = probes(CODECS, matched=True)


def drawn(task: str) -> Figure:
    return report.draw(COMBINED, task, dims=dict.fromkeys(CODECS, 128), matched_dims=8, confidence=0.9, utterances=42)


@pytest.mark.parametrize("task", MEASURES)
def test_every_codec_is_drawn_in_every_panel(task: str) -> None:
    figure = drawn(task)
    panels = [(probe, measure) for probe in ("linear", "matched") for measure in MEASURES[task]]
    for axes, (probe, measure) in zip(figure.axes, panels, strict=True):
        series = {str(line.get_label()): line for line in axes.lines}
        expected = COMBINED[(COMBINED[["task", "probe", "measure"]] == [task, probe, measure]).all(axis=1)]
        for codec in CODECS:
            shown = np.asarray(series[codec].get_ydata())
            np.testing.assert_array_equal(shown, expected.loc[expected["codec"] == codec, "value"])
        for line in axes.lines:
            assert np.isfinite(np.asarray(line.get_ydata(), dtype=float)).all()
        bars = np.concatenate([segment for bar in axes.collections for segment in bar.get_segments()])  # type: ignore[attr-defined]
        assert sorted(bars[:, 1]) == pytest.approx(sorted([*expected["low"], *expected["high"]]))
        assert axes.get_ylabel()
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "RVQ layer", "RVQ layer"]
    assert figure.axes[2].get_title(loc="left") == "rows reduced by PCA to 8 dimensions"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:3] == [f"{codec.replace('_', ' ')} (D = 128)" for codec in CODECS]
    assert labels[3].replace("\n", " ") == "90 % interval, bootstrap over 42 utterances"
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
