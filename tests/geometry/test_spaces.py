from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.manifold import TSNE

from phonoscope.config.geometry import GeometryConfig
from phonoscope.geometry.jobs import numerical_rank, pca, tsne


@pytest.mark.parametrize(
    ("shape", "components", "sparse"),
    [
        *(((40, 7), 3, sparse) for sparse in (False, True)),
        *(((12, 30), 3, sparse) for sparse in (False, True)),
        *(((10, 2), 2, sparse) for sparse in (False, True)),
        *(((12, 3), 3, True), ((3, 8), 2, False)),
    ],
)
def test_pca_is_the_singular_value_decomposition(shape: tuple[int, int], components: int, sparse: bool) -> None:
    vectors = np.random.default_rng(0).normal(size=shape) + 3
    coordinates, shares = pca(csr_array(vectors) if sparse else vectors, 3, seed=0)
    left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(shares, (values**2 / np.square(values).sum())[:components], rtol=1e-8)
    np.testing.assert_allclose(np.abs(coordinates), np.abs(left * values)[:, :components], atol=1e-6)


def test_tsne_is_the_notebooks_and_left_out_for_too_few_clips_or_dimensions(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(24, 6))
    result = tsne(vectors, 2, GeometryConfig(seed=5))
    left_out = [tsne(rng.normal(size=shape), 3, GeometryConfig()) for shape in ((3, 9), (9, 2))]
    truth = TSNE(2, perplexity=23, metric="cosine", random_state=5).fit_transform(vectors)
    np.testing.assert_array_equal(result, truth)
    assert "24 clips allow no perplexity of 30; 23 is taken" in caplog.text
    assert left_out == [None, None]
    assert "t-SNE to 3 dimensions is left out: 3 clips of 9 dimensions" in caplog.text
    assert "t-SNE to 3 dimensions is left out: 9 clips of 2 dimensions" in caplog.text


def test_the_rank_is_that_of_what_was_planted() -> None:
    rng = np.random.default_rng(0)
    thin = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 40)) + rng.normal(size=40)
    assert numerical_rank(thin) == 5  # about the mean: the common offset adds none
    assert numerical_rank(thin.astype(np.float32)) == 5  # nor does rounding
    assert numerical_rank(csr_array(rng.normal(size=(8, 40)))) == 7
