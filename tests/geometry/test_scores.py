from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import davies_bouldin_score, silhouette_samples, silhouette_score

from phonoscope.errors import DataError
from phonoscope.geometry import GeometryConfig, cluster_scores
from phonoscope.geometry.leave_out import bounds, speaker_groups
from phonoscope.geometry.scores import quadratic_sample
from phonoscope.stats import jackknife

CONFIG = GeometryConfig(permutations=49)


def clustered(gap: float, n: int = 60, seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    """Three labels, `gap` standard deviations apart, said by six speakers."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    vectors = rng.normal(size=(n, 5))
    vectors[:, 0] += gap * codes
    return vectors, [f"w{code}" for code in codes], [f"s{i // 3 % 6}" for i in range(n)]


@pytest.mark.parametrize("sparse", [False, True])
def test_scores_are_scikit_learns(sparse: bool) -> None:
    vectors, labels, speakers = clustered(2.0)
    if sparse:
        vectors[np.abs(vectors) < 0.5] = 0
    result = cluster_scores(csr_array(vectors) if sparse else vectors, labels, speakers=speakers, config=CONFIG)
    table = result.rows.set_index("metric")
    assert table.loc["silhouette", "value"] == pytest.approx(silhouette_score(vectors, labels))
    assert table.loc["davies_bouldin", "value"] == pytest.approx(davies_bouldin_score(vectors, labels))
    assert table["n"].tolist() == [60, 60]
    np.testing.assert_allclose(result.silhouettes.values, silhouette_samples(vectors, labels), atol=1e-9)
    assert (table["ci_low"] < table["value"]).all()
    assert (table["value"] < table["ci_high"]).all()
    dense = cluster_scores(vectors, labels, speakers=speakers, config=CONFIG).rows
    np.testing.assert_allclose(result.rows.iloc[:, 1:].astype(float), dense.iloc[:, 1:].astype(float), atol=1e-9)


def test_without_speakers_there_is_no_interval_and_without_blocks_no_p_value() -> None:
    vectors, labels, speakers = clustered(1.0)
    result = cluster_scores(vectors, labels, within=speakers, config=CONFIG)
    assert result.null is None
    assert {score[3:] for score in result.scores} == {(None, None, None)}
    assert len(cluster_scores(vectors, labels, speakers=speakers, config=CONFIG).scores) == 2
    alone = cluster_scores(vectors, labels, speakers=["s"] * 60, within=["s"] * 60, config=CONFIG)
    assert [score.ci_low for score in alone.scores] == [None, None]
    assert alone.null is None


@pytest.mark.parametrize("by", ["word", "speaker"])
def test_each_speaker_is_left_out_as_if_he_had_not_been_recorded(by: str) -> None:
    vectors, words, speakers = clustered(1.5)
    people = np.array(speakers)
    labels = np.array(words) if by == "word" else people
    got = cluster_scores(vectors, labels, speakers=speakers, config=CONFIG)
    rest = [people != name for name in sorted(set(speakers))]
    expected = [silhouette_score(vectors[kept], labels[kept]) for kept in rest]
    np.testing.assert_allclose(got.silhouettes.left_out, expected, atol=1e-12)
    silhouette, davies = got.scores
    assert silhouette[3:5] == pytest.approx(jackknife(silhouette.value, np.array(expected), 0.95)[1:])
    expected = [davies_bouldin_score(vectors[kept], labels[kept]) for kept in rest]
    assert davies[3:5] == pytest.approx(jackknife(davies.value, np.array(expected), 0.95, "log")[1:])


def test_a_speaker_without_whom_there_is_no_score_gives_no_interval() -> None:
    vectors, _, speakers = clustered(1.0)
    sexes = ["F" if name == "s0" else "M" for name in speakers]
    got = cluster_scores(vectors, sexes, speakers=speakers, config=CONFIG)
    assert np.isnan(got.silhouettes.left_out).tolist() == [True] + 5 * [False]
    assert [score[3:5] for score in got.scores] == [(None, None)] * 2
    assert bounds(0.5, np.array([0.4, 0.6]), 0.95) == (None, None)


def test_many_speakers_are_left_out_in_groups() -> None:
    groups = speaker_groups(np.repeat([f"s{i:03d}" for i in range(120)], 3))
    assert np.bincount(groups).tolist() == 20 * [9] + 30 * [6]
    assert (groups.reshape(120, 3) == groups.reshape(120, 3)[:, :1]).all()


def test_labels_of_one_clip_and_empty_ones_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    vectors, labels, _ = clustered(1.0)
    odd = ["lone", "", *labels[2:]]
    found = cluster_scores(vectors, odd, config=CONFIG)
    assert "1 of 5 values of label have one clip only and are left out: ['lone']" in caplog.text
    assert found.scores[0].value == pytest.approx(silhouette_score(vectors[2:], labels[2:]))
    assert found.silhouettes.rows.tolist() == list(range(2, 60))


def test_one_class_only_and_vectors_that_do_not_fit_are_refused() -> None:
    for labels in (["a"] * 6, [*"aaaabc"], [""] * 6, [*"abcdef"]):
        with pytest.raises(DataError, match="two values with two clips each are needed"):
            cluster_scores(np.eye(6), labels)
    vectors, labels, _ = clustered(1.0)
    with pytest.raises(DataError, match="59 vectors for 60 labels"):
        cluster_scores(vectors[1:], labels)
    vectors[3, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        cluster_scores(vectors, labels)


def test_quadratic_scores_take_a_sample_that_keeps_the_labels_shares() -> None:
    vectors, labels, speakers = clustered(2.0, n=300)
    config = CONFIG.model_copy(update={"max_quadratic_clips": 90, "permutation_clips": 30})
    found = cluster_scores(vectors, labels, speakers=speakers, within=speakers, config=config)
    assert [score.n for score in found.scores] == [90, 300, 30]
    rows = found.silhouettes.rows
    assert (np.diff(rows) > 0).all()
    assert {name: np.array(labels)[rows].tolist().count(name) for name in set(labels)} == {"w0": 30, "w1": 30, "w2": 30}
    assert found.scores[0].value == pytest.approx(silhouette_score(vectors[rows], np.array(labels)[rows]))
    assert found.scores[1].value == pytest.approx(davies_bouldin_score(vectors, labels))
    assert found.scores[2].p_value == pytest.approx(1 / 50)
    codes = np.arange(300) % 3
    np.testing.assert_array_equal(quadratic_sample(np.arange(300), codes, config), rows)
