from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import t
from sklearn.metrics import davies_bouldin_score, silhouette_samples, silhouette_score

from phonoscope.config.geometry import BootstrapConfig
from phonoscope.errors import DataError
from phonoscope.geometry import GeometryConfig, cluster_scores
from phonoscope.geometry.scores import quadratic_sample

CONFIG = GeometryConfig(permutations=49, bootstrap=BootstrapConfig(samples=200))


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


def test_the_null_tells_planted_from_random_labels() -> None:
    def p_value(gap: float, seed: int = 0) -> float:
        vectors, labels, _ = clustered(gap, seed=seed)
        return cluster_scores(vectors, labels, config=CONFIG).scores[0].p_value

    assert p_value(3.0) == pytest.approx(1 / 50)
    values = np.array([p_value(0.0, seed) for seed in range(20)])
    assert 0.3 < values.mean() < 0.7
    assert (values > 0.05).sum() >= 17


def test_the_null_is_where_silhouettes_of_permuted_labels_lie() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["yes", "no", "one"], 8)
    vectors = rng.normal(size=(24, 3)) + 5 * (labels == "yes")[:, None]
    config = GeometryConfig(permutations=400, bootstrap=BootstrapConfig(confidence=0.9))
    result = cluster_scores(vectors, list(labels), config=config)
    permuted = [silhouette_score(vectors, rng.permutation(labels)) for _ in range(400)]
    assert result.null.value == pytest.approx(np.mean(permuted), abs=0.01)
    interval = tuple(np.quantile(permuted, [0.05, 0.95]))
    assert (result.null.ci_low, result.null.ci_high) == pytest.approx(interval, abs=0.02)
    assert result.null.metric == "silhouette_null"
    assert result.scores[0].value > max(permuted)


def test_without_speakers_there_is_no_interval_and_without_a_null_no_p_value() -> None:
    vectors, labels, speakers = clustered(1.0)
    result = cluster_scores(vectors, labels, permute=False, config=CONFIG)
    assert result.null is None
    assert {score[3:] for score in result.scores} == {(None, None, None)}
    alone = cluster_scores(vectors, labels, speakers=["s"] * len(speakers), config=CONFIG).scores
    assert [score.ci_low for score in alone] == [None, None]


def test_the_davies_bouldin_interval_is_a_jackknife_over_speakers() -> None:
    vectors, labels, speakers = clustered(1.5)
    found = cluster_scores(vectors, labels, speakers=speakers, permute=False, config=CONFIG).scores[1]
    people, words = np.array(speakers), np.array(labels)
    left_out = [davies_bouldin_score(vectors[people != s], words[people != s]) for s in sorted(set(speakers))]
    error = np.sqrt(5 / 6 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert found.ci_high - found.value == pytest.approx(t.ppf(0.975, 5) * error)


def test_labels_of_one_clip_and_empty_ones_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    vectors, labels, _ = clustered(1.0)
    odd = ["lone", "", *labels[2:]]
    found = cluster_scores(vectors, odd, permute=False, config=CONFIG)
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
    found = cluster_scores(vectors, labels, speakers=speakers, config=config)
    assert [score.n for score in found.scores] == [90, 300]
    rows = found.silhouettes.rows
    assert (np.diff(rows) > 0).all()
    assert {name: np.array(labels)[rows].tolist().count(name) for name in set(labels)} == {"w0": 30, "w1": 30, "w2": 30}
    assert found.scores[0].value == pytest.approx(silhouette_score(vectors[rows], np.array(labels)[rows]))
    assert found.scores[1].value == pytest.approx(davies_bouldin_score(vectors, labels))
    assert found.scores[0].p_value == pytest.approx(1 / 50)
    codes = np.arange(300) % 3
    np.testing.assert_array_equal(quadratic_sample(np.arange(300), codes, config), rows)
