from __future__ import annotations

import pandas as pd
import pytest
from phonoscope.report.geometry_table import (
    SCORES,
    aliases,
    combine_geometry,
    difference_headline,
    look_up,
    markdown_tables,
    representations,
    score_rows,
)

from phonoscope.errors import DataError
from tests.report.planted_geometry import ALIASES, GAIN, VIEWS, scores

TABLE = combine_geometry({"dac": scores("dac"), "encodec": scores("encodec", aliased=True)})


def test_codecs_keep_their_order_and_texts_are_never_nan() -> None:
    assert list(dict.fromkeys(TABLE["codec"])) == ["dac", "encodec"]
    assert TABLE[["same_as", "label", "against"]].map(lambda text: isinstance(text, str)).all().all()
    assert aliases(TABLE, "encodec") == ALIASES
    assert aliases(TABLE, "dac") == {}
    assert representations(TABLE) == ["codes_mean", "codes_concat", "latent_sum", "projections_concat"]
    assert representations(TABLE, layers=True) == ["layer_1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(columns="against"), "no column 'against'"),
        (lambda table: table.assign(codec="dac"), "rows of another codec, 'dac'"),
        (lambda table: pd.concat([table, table.tail(1)]), "stands twice"),
    ],
    ids=["column", "codec", "twice"],
)
def test_a_broken_table_is_refused_by_name(change: object, said: str) -> None:
    assert callable(change)
    with pytest.raises(DataError, match=f"geometry scores of encodec.*{said}.*dvc repro geometry@encodec"):
        combine_geometry({"encodec": change(scores("encodec"))})


def test_a_score_is_found_with_its_interval() -> None:
    found = look_up(TABLE, "dac", "full", "projections_concat", "map_at_r")
    assert found
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.25, 0.35))
    assert (found.n, found.dims, found.text) == (VIEWS["full"], 12_288, "0.300 [0.250, 0.350]")
    assert look_up(TABLE, "dac", "full", "projections_concat", "map_at_r", space="pca_2") is None
    space = look_up(TABLE, "dac", "full", "latent_sum", "silhouette", space="tsne_3")
    assert space
    assert space.text == "−0.100"


def test_charts_get_each_score_once_and_no_projections() -> None:
    rows = score_rows(TABLE)
    assert len(rows) == 2 * len(VIEWS) * 5 * len(SCORES)
    assert set(rows["score"]) == set(SCORES.values())
    assert not rows.duplicated(["codec", "view", "representation", "score"]).any()
    assert rows[["value", "ci_low", "ci_high"]].notna().all().all()


def test_the_rank_stands_beside_what_dimensions_could_hold() -> None:
    text = markdown_tables(TABLE)
    assert "| dac | projections_concat | 12,288 | 96 | 96 | 37.7 | 44.1 |" in text
    assert "| dac | projections_concat | 0.300 [0.250, 0.350] | −0.250 [−0.300, −0.200] |" in text
    assert "layer_1" not in text


def test_tracked_differences() -> None:
    headline = difference_headline(TABLE)
    assert headline["dac.full.silhouette_difference_word"] == pytest.approx(GAIN)
    assert len(headline) == 2 * len(VIEWS) * 4
