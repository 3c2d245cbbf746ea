from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from phonoscope.report.geometry import SCORES, aliases, draw, draw_scores, markdown_tables, score_rows, table, verdicts
from tests.report.planted import assert_legend_is_free
from tests.report.planted_geometry import ALIASES, MEASURES, P_VALUES, VIEWS, scores

CODECS = ("dac", "encodec", "speechtokenizer", "speechtokenizer_undistilled")
TABLE = table({codec: scores(codec) for codec in CODECS})
NAMES = ["codes_mean", "codes_concat", "latent_sum", "projections_concat"]
PAIR = table({"dac": scores("dac"), "encodec": scores("encodec", aliased=True)})


def test_codecs_keep_their_order_and_texts_are_never_nan() -> None:
    assert list(dict.fromkeys(PAIR["codec"])) == ["dac", "encodec"]
    assert PAIR[["same_as", "label", "against"]].map(lambda text: isinstance(text, str)).all().all()
    assert aliases(PAIR, "encodec") == ALIASES
    assert aliases(PAIR, "dac") == {}


def test_charts_get_each_score_once_and_no_projections() -> None:
    rows = score_rows(PAIR)
    assert len(rows) == 2 * len(VIEWS) * 5 * len(SCORES)
    assert set(rows["score"]) == set(SCORES.values())
    assert not rows.duplicated(["codec", "view", "representation", "score"]).any()
    assert rows[["value", "ci_low", "ci_high"]].notna().all().all()


def test_verdicts_follow_the_intervals_of_the_paired_differences() -> None:
    gains = {"map_at_r": 0.1, "silhouette": -0.1, "nn_accuracy": 0.05, "probe_accuracy": 0.0}
    rows = verdicts(table({"dac": scores("dac", gains=gains)})).query("view == 'full'")
    said = dict(zip(rows["claim"].str.split(":").str[0], rows["verdict"], strict=True))
    assert said["mAP@R of the word"] == "supported"
    assert said["Silhouette by word"] == "refuted"
    assert said["1-NN accuracy of the word"] == said["Linear probe of the word"] == "undecided"
    assert said["Silhouette by speaker of projections_concat above 0"] == "refuted"
    assert said["Separation of words across speakers of projections_concat above 0"] == "supported"
    assert said["Separation of speakers across words of projections_concat above 0"] == "undecided"
    assert rows["p_value"].dropna().tolist() == [0.02, 0.5]
    assert len(verdicts(TABLE)) == len(CODECS) * len(VIEWS) * (len(MEASURES) + 4)


def test_q_values_are_of_all_codecs_and_count_coinciding_representations_once() -> None:
    tested = PAIR.query("metric == 'separation' and label == 'word' and view == 'full'")
    by_name = tested.set_index(["codec", "representation"])["q_value"]
    # eight tests: five of dac and three of encodec, whose latent_sum and projections_concat coincide with others
    q = {0.01: 8 / 3 * 0.01, 0.02: 8 / 6 * 0.02, 0.5: 0.5}
    assert by_name.to_dict() == pytest.approx({key: q[P_VALUES[key[1]]] for key in by_name.index})
    assert PAIR.loc[PAIR["metric"] != "separation", "q_value"].isna().all()


def test_ranks_stand_beside_dimensions_and_nothing_is_lost() -> None:
    text = markdown_tables(PAIR, verdicts(PAIR))
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["dac", "projections_concat", "12,288", "96", "96", "37.7", "44.1"] in lines
    assert any(line[:3] == ["dac", "projections_concat", "0.300 [0.250, 0.350]"] for line in lines)
    words, voices = ["0.070 [0.020, 0.120]", "0.01", "0.0267"], ["0.010 [−0.040, 0.060]", "0.5", "0.5"]
    assert ["encodec", "codes_mean", *words, *voices] in lines
    assert "layer_1" not in text


def test_every_score_is_drawn_with_its_interval() -> None:
    figure = draw_scores(TABLE, "full", 0.9)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(SCORES.values())
    charted = score_rows(TABLE).query("view == 'full' and representation in @NAMES")
    for axes, title in zip(figure.axes, SCORES.values(), strict=True):
        for codec in CODECS:
            (line,) = (line for line in axes.lines if line.get_label() == codec)
            expected = charted[(charted["codec"] == codec) & (charted["score"] == title)]
            np.testing.assert_array_equal(line.get_ydata(), expected["value"])
            assert [round(float(x)) for x in np.asarray(line.get_xdata())] == [0, 1, 2, 3]
        bars = [segment for bar in axes.collections for segment in bar.get_segments()]  # type: ignore[attr-defined]
        upright = [segment for segment in bars if segment[0][0] == segment[1][0]]
        assert len(upright) == len(CODECS) * len(NAMES)
        assert all(segment[1][1] - segment[0][1] == pytest.approx(0.1) for segment in upright)
        assert axes.get_ylabel()
    assert figure.axes[3].get_xticklabels()[0].get_text() == "codes\nmean"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[3:5] == ["speechtokenizer undistilled", "90 % interval, jackknife over speakers"]
    assert_legend_is_free(figure)


def null_levels(figure: Any, panel: int) -> set[float]:
    lines = [segment for bar in figure.axes[panel].collections for segment in bar.get_segments()]
    return {float(segment[0][1]) for segment in lines if segment[0][1] == segment[1][1]}


def test_null_levels_are_drawn_where_they_are_known() -> None:
    figure = draw_scores(TABLE, "notebook", 0.95)
    assert null_levels(figure, 0) == {-0.01}
    band: list[Any] = list(figure.axes[0].patches)
    assert {(round(patch.get_y(), 6), round(patch.get_height(), 6)) for patch in band} == {(-0.02, 0.02)}
    assert null_levels(figure, 5) == {0.1}
    assert null_levels(figure, 3) == set()
    named = table({"dac": scores("dac").replace("silhouette_null", "map_at_r_null")})
    assert null_levels(draw_scores(named, "notebook", 0.95), 3) == {-0.01}


def test_layers_have_a_figure_in_the_order_of_their_numbers() -> None:
    rows = TABLE.replace({"representation": {"codes_mean": "layer_10", "latent_sum": "layer_2"}})
    figure = draw_scores(rows, "full", 0.95, layers=True)
    assert [text.get_text() for text in figure.axes[3].get_xticklabels()] == ["1", "2", "10"]
    assert figure.axes[3].get_xlabel() == "RVQ layer alone"
    whole = PAIR[(PAIR["representation"] != "layer_1") & (PAIR["view"] == "full")]
    assert [name for name, _ in draw(whole, 0.95)] == ["scores_full"]
