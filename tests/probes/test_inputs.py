from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from phonoscope.config.probes import ClassifierConfig, MlpConfig, ProbeConfig
from phonoscope.probes.examples import Examples
from phonoscope.probes.frames import ArrayVectors, SummedCodes
from phonoscope.probes.inputs import FrameInput, TableInput

Pair = tuple[TableInput, FrameInput, Examples]
CONFIG = ProbeConfig(
    classifier=ClassifierConfig(max_iter=300, tolerance=1e-5), mlp=MlpConfig(hidden=8, steps=300, batch_size=512)
)


@pytest.fixture(scope="module")
def pair() -> Pair:
    """The same frames behind both paths; every tenth has no label."""
    rng = np.random.default_rng(0)
    codebook = rng.normal(size=(20, 5)).astype(np.float32)
    codes = rng.integers(20, size=20_000)
    logits = 3 * codebook[codes] @ rng.normal(size=(5, 3)) + rng.gumbel(size=(len(codes), 3))
    labels = logits.argmax(axis=1)
    labels[::10] = -1
    utterances = np.arange(len(labels)) // 100
    examples = Examples(labels, ("a", "b", "c"), utterances, np.arange(200), [])
    return TableInput(codes, codebook), FrameInput(ArrayVectors(codebook[codes])), examples


def test_the_linear_probe_is_the_same_on_both_paths(pair: Pair) -> None:
    table, frames, examples = pair
    fits = [source.fit_linear(examples, CONFIG) for source in (table, frames)]
    assert fits[0].classes == fits[1].classes
    np.testing.assert_allclose(fits[1].mean, fits[0].mean, atol=1e-9)
    assert fits[1].objective == pytest.approx(fits[0].objective, rel=1e-5)
    np.testing.assert_array_equal(frames.predict(fits[1], examples.kept), table.predict(fits[0], examples.kept))


def test_the_network_finds_the_same_on_both_paths(pair: Pair) -> None:
    table, frames, examples = pair
    keep = examples.kept
    predicted = [source.predict(source.fit_mlp(examples, CONFIG, seed=0), keep) for source in (table, frames)]
    accuracies = [float((part == examples.targets[keep]).mean()) for part in predicted]
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.01)
    assert (predicted[0] == predicted[1]).mean() > 0.95


def test_reduction_and_means_are_the_same_on_both_paths(pair: Pair) -> None:
    table, frames, examples = pair
    reduced = [source.reduced(examples, 2) for source in (table, frames)]
    assert isinstance(reduced[0], TableInput)
    assert isinstance(reduced[1], FrameInput)
    vectors = table.codebook.astype(np.float64)[table.codes]
    expected = PCA(2).fit(vectors[examples.kept]).transform(vectors)
    for points in (reduced[0].codebook[table.codes], reduced[1].vectors.rows(slice(None))):
        np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-5)
    np.testing.assert_allclose(frames.means(examples.utterances, 200), table.means(examples.utterances, 200), atol=1e-6)


def test_a_sum_of_codes_is_the_sum_of_their_vectors() -> None:
    rng = np.random.default_rng(1)
    books = [rng.normal(size=(8, 3)) for _ in range(3)]
    codes = rng.integers(8, size=(50, 3))
    summed = SummedCodes(codes, books[:2])
    assert summed.dims == 3
    np.testing.assert_allclose(summed.rows(slice(None)), books[0][codes[:, 0]] + books[1][codes[:, 1]])
    np.testing.assert_allclose(summed.rows(np.array([3, 40])), summed.rows(slice(None))[[3, 40]])
