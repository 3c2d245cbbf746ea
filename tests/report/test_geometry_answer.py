from __future__ import annotations

import pandas as pd
import pytest
from phonoscope.report.geometry_answer import NO_WORDS, geometry_answer
from phonoscope.report.geometry_table import combine_geometry

from tests.report.planted_geometry import MEASURES, scores


def answered(**gains: float) -> str:
    table = scores("dac", gains=dict.fromkeys(MEASURES, 0.0) | gains)
    return geometry_answer(combine_geometry({"dac": table}), confidence=0.9)


@pytest.mark.parametrize(
    ("gains", "verdict", "tally"),
    [
        (
            {},
            "**not measurably**",
            "of 4 comparisons (measures by codecs), 0 favour keeping apart, 0 summing, 4 neither",
        ),
        ({"map_at_r": 0.1}, "**yes by mAP@R**", "1 favour keeping apart, 0 summing, 3 neither"),
        (
            {"map_at_r": 0.1, "silhouette": 0.2, "probe_accuracy": -0.1},
            "**yes by silhouette and mAP@R; no, the sum is better by linear probe**",
            "2 favour keeping apart, 1 summing, 1 neither",
        ),
        ({"nn_accuracy": 0.05}, "**not measurably**", "0 favour keeping apart"),  # its interval ends at 0
    ],
)
def test_the_verdict_follows_the_intervals(gains: dict[str, float], verdict: str, tally: str) -> None:
    text = answered(**gains)
    assert f"dac: {verdict}" in text
    assert tally in text


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        (dict.fromkeys(MEASURES[:3], 0.1), "**Yes.**"),
        (dict.fromkeys(MEASURES[:3], -0.1), "**No, summing is better.**"),
        (dict.fromkeys(MEASURES[:2], 0.1), "**Not in general.**"),
        (dict.fromkeys(MEASURES[:3], 0.1) | {"probe_accuracy": -0.1}, "**Not in general.**"),
    ],
)
def test_most_comparisons_answer_if_none_objects(gains: dict[str, float], said: str) -> None:
    assert f"(`latent_sum`)?** {said} View" in answered(**gains)


def test_every_number_carries_its_interval() -> None:
    text = answered(map_at_r=0.1)
    assert "mAP@R 0.300 against 0.200, difference 0.100 [0.050, 0.150]" in text
    assert "by speaker −0.250 [−0.300, −0.200] (p = 0.5)" in text
    assert "(Of view `full`, 24 clips" in text
    assert "90 % intervals" in text
    assert text.endswith("\n")
    assert text.count("\n") == 1


def test_the_rank_is_argued_from_measured_rows() -> None:
    text = answered()
    assert "put into 12,288 dimensions are affine images of 12 codes of 8 dimensions" in text
    assert "their rank is at most 96, and on 24 clips it is 96" in text
    assert "of the 96 dimensions of `codes_concat` 95, and that of the sum 94 of 1,024" in text


def test_a_codec_without_projections_says_so() -> None:
    table = combine_geometry({name: scores(name, aliased=True) for name in ("encodec", "speechtokenizer")})
    text = geometry_answer(table)
    assert "encodec and speechtokenizer project nothing: `projections_concat` is `codes_concat` there" in text
    assert "affine images" not in text


@pytest.mark.parametrize(
    ("silhouette", "p_value", "said"),
    [
        (0.2, 0.005, "form clusters: silhouette"),
        (0.0, 0.005, "overlap, though nearer together than by chance: silhouette"),
        (0.0, 0.4, "overlap: silhouette"),
        (-0.2, 0.4, "form no clusters: silhouette"),
    ],
)
def test_whether_words_cluster_at_all(silhouette: float, p_value: float, said: str) -> None:
    table = combine_geometry({"dac": scores("dac")})
    own = (table["metric"] == "silhouette") & (table["label"] == "word") & (table["space"] == "full")
    table.loc[own, ["value", "ci_low", "ci_high"]] = silhouette, silhouette - 0.05, silhouette + 0.05
    table.loc[own, "p_value"] = p_value
    assert f"Its words {said}" in geometry_answer(table)


def test_without_words_or_without_both_representations() -> None:
    empty = scores("dac").iloc[:0]
    assert geometry_answer(combine_geometry({"dac": empty})) == NO_WORDS
    table = combine_geometry({"dac": scores("dac").query("representation != 'projections_concat'")})
    assert "`projections_concat` and `latent_sum` were not both scored" in geometry_answer(table)


def test_one_speaker_leaves_only_what_is_there() -> None:
    table = combine_geometry({"dac": scores("dac")})
    alone = table[~table["metric"].str.startswith(MEASURES[1:]) & (table["label"] != "speaker")]
    text = geometry_answer(pd.DataFrame(alone))
    assert "of 1 comparisons" in text
    assert "mAP@R 0" not in text
    assert "by speaker −" not in text
