from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from phonoscope.report.comparison import COLUMNS, best, combine, fixed, markdown_tables, scores, side_by_side, wide

from phonoscope.errors import DataError
from tests.report.planted import codec_table, table

LONG, SHORT = {"phone": [0.3, 0.2, 0.1]}, {"phone": [0.1, 0.4], "pitch": [-0.2, 0.05]}


def test_one_row_a_codec_layer_task_and_metric_in_a_fixed_order() -> None:
    parts = {"b": codec_table("b", SHORT, matched=True), "a": codec_table("a", LONG)}
    combined = combine(parts)
    assert list(combined) == list(COLUMNS)
    assert len(combined) == 2 * 2 * 2 * 2 + 3 * 2
    assert combined["codec"].drop_duplicates().tolist() == ["b", "a"]
    shuffled = {codec: part.sample(frac=1, random_state=0) for codec, part in parts.items()}
    pd.testing.assert_frame_equal(combine(shuffled), combined)


def test_wide_and_long_hold_the_same() -> None:
    combined = table({"b": SHORT, "a": LONG})
    pivoted = wide(combined, "phone", "macro_f1")
    assert pivoted.columns.tolist() == ["layer", "b", "a"]
    assert np.isnan(pivoted["b"].iloc[-1])
    long = pivoted.melt("layer", var_name="codec").dropna()
    expected = combined[(combined["task"] == "phone") & (combined["metric"] == "macro_f1")]
    assert {tuple(row) for row in long[["codec", "layer", "value"]].to_numpy()} == {
        tuple(row) for row in expected[["codec", "layer", "value"]].to_numpy()
    }


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    broken = codec_table("a", LONG)
    broken.loc[4, "lookup"] = value
    with pytest.raises(DataError, match=r"of a: phone accuracy of layer 2 .* `dvc repro probe@a`"):
        combine({"a": broken})


def test_rows_of_another_codec_missing_columns_and_doubles_are_refused() -> None:
    good = codec_table("a", LONG)
    with pytest.raises(DataError, match="another codec, 'a'"):
        combine({"b": good})
    with pytest.raises(DataError, match="no column 'lookup'"):
        combine({"a": good.drop(columns="lookup")})
    with pytest.raises(DataError, match="stand twice"):
        combine({"a": pd.concat([good, good.head(1)])})


def test_best_is_the_largest_score_but_the_smallest_error() -> None:
    combined = table({"a": {"phone": [0.2, 0.4, 0.4], "pitch": [0.3, 0.1, 0.2]}})
    assert best(scores(combined, "a", "phone", "macro_f1"), "macro_f1").layer == 2
    assert best(scores(combined, "a", "pitch", "r2"), "r2").layer == 1
    assert best(scores(combined, "a", "pitch", "mae_hz"), "mae_hz").layer == 2
    assert scores(combined, "a", "speaker", "macro_f1") == []


def test_markdown_marks_each_codecs_best_layer() -> None:
    lines = markdown_tables(table({"a": LONG, "b": SHORT})).splitlines()
    assert lines[:6] == [
        "**Phone, macro-F1**",
        "",
        "| layer | a | b |",
        "| ---: | ---: | ---: |",
        "| 1 | **0.300** [0.290, 0.310] | 0.100 [0.090, 0.110] |",
        "| 2 | 0.200 [0.190, 0.210] | **0.400** [0.390, 0.410] |",
    ]
    assert lines[6] == "| 3 | 0.100 [0.090, 0.110] |  |"
    assert "**Pitch, R²**" in lines
    assert "| 1 | −0.200 [−0.210, −0.190] |" in lines


def test_side_by_side_has_every_task_codec_and_both_metrics_with_the_best_of_each_column_in_bold() -> None:
    lines = side_by_side(table({"a": {**LONG, "pitch": [0.3, 0.1]}, "b": SHORT})).splitlines()
    assert lines[0] == (
        "| layer | phone, a, macro-F1 | phone, a, accuracy | phone, b, macro-F1 | phone, b, accuracy "
        "| pitch, a, MAE in Hz | pitch, a, R² | pitch, b, MAE in Hz | pitch, b, R² |"
    )
    assert lines[2] == "| 1 | **0.300** | **0.300** | 0.100 | 0.100 | 30.0 | **0.300** | **−20.0** | −0.200 |"
    assert lines[3] == "| 2 | 0.200 | 0.200 | **0.400** | **0.400** | **10.0** | 0.100 | 5.000 | **0.050** |"
    assert lines[4] == "| 3 | 0.100 | 0.100 |  |  |  |  |  |  |"


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (-0.0001, "0.000"), (-0.5, "−0.500"), (51.26, "51.3"), (-12.0, "−12.0")]
)
def test_fixed(value: float, text: str) -> None:
    assert fixed(value) == text
