from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import linalg
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from phonoscope.config.probes import ClassifierConfig, ClassWeight, MlpConfig, ProbeConfig
from phonoscope.probes.examples import Examples, Fold
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


@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_discriminants_solve_the_eigenproblem_of_fisher_on_both_paths(pair: Pair, weight: ClassWeight) -> None:
    table, frames, examples = pair
    ranked = [source.discriminants(examples, 2, weight) for source in (table, frames)]
    assert isinstance(ranked[0], TableInput)
    assert isinstance(ranked[1], FrameInput)
    vectors, keep = table.codebook.astype(np.float64)[table.codes], examples.kept
    inputs, labels = vectors[keep], examples.targets[keep]
    mass = 1 / np.bincount(labels)[labels] if weight == "balanced" else np.ones(len(labels))
    scatter = np.cov(inputs.T, aweights=mass, bias=True)
    mean, between = np.average(inputs, axis=0, weights=mass), np.zeros((5, 5))
    for label in range(3):
        centre = inputs[labels == label].mean(axis=0) - mean
        between += mass[labels == label].sum() * np.outer(centre, centre)
    reference = vectors @ linalg.eigh(between, scatter)[1][:, :-3:-1]
    for points in (ranked[0].codebook[table.codes], ranked[1].vectors.rows(slice(None))):
        correlations = np.corrcoef(points.T, reference.T)[:2, 2:]
        np.testing.assert_allclose(np.abs(correlations.diagonal()), 1, atol=1e-6)
    if weight == "none":
        learned = LinearDiscriminantAnalysis(solver="eigen", n_components=2).fit(inputs, labels).transform(vectors)
        correlations = np.corrcoef(learned.T, reference.T)[:2, 2:]
        np.testing.assert_allclose(np.abs(correlations.diagonal()), 1, atol=1e-6)


def test_a_label_on_the_direction_of_least_variance_is_read_by_one_direction() -> None:
    """As well as scikit-learn's linear discriminant analysis does; principal components would drop it first."""
    rng = np.random.default_rng(0)
    codebook = rng.normal(size=(64, 6)) * [9, 7, 5, 3, 2, 0.1]
    codes = rng.integers(64, size=4_000)
    targets = (codebook[codes, 5] > 0).astype(int)
    utterances = np.arange(4_000) // 40
    fold = Fold(np.arange(100) < 70, np.arange(100) >= 70)
    examples = Examples(targets, ("a", "b"), utterances, np.arange(100), [fold])
    ranked = TableInput(codes, codebook).discriminants(examples.restricted(fold.train), 1, "balanced")
    probe = ranked.fit_linear(examples.restricted(fold.train), CONFIG)
    held_out, frames = fold.evaluation[utterances], codebook[codes]
    accuracy = (ranked.predict(probe, held_out) == targets[held_out]).mean()

    def reference(points: NDArray[np.float64]) -> float:
        fitted = LogisticRegression(class_weight="balanced").fit(points[~held_out], targets[~held_out])
        return float(fitted.score(points[held_out], targets[held_out]))

    discriminants = LinearDiscriminantAnalysis(n_components=1).fit(frames[~held_out], targets[~held_out])
    assert accuracy == pytest.approx(reference(discriminants.transform(frames)), abs=0.01)
    assert accuracy > 0.95
    assert reference(PCA(5).fit(frames[~held_out]).transform(frames)) < 0.6


def test_means_are_the_same_on_both_paths(pair: Pair) -> None:
    table, frames, examples = pair
    np.testing.assert_allclose(frames.means(examples.utterances, 200), table.means(examples.utterances, 200), atol=1e-6)


def test_a_sum_of_codes_is_the_sum_of_their_vectors() -> None:
    rng = np.random.default_rng(1)
    books = [rng.normal(size=(8, 3)) for _ in range(3)]
    codes = rng.integers(8, size=(50, 3))
    summed = SummedCodes(codes, books[:2])
    assert summed.dims == 3
    np.testing.assert_allclose(summed.rows(slice(None)), books[0][codes[:, 0]] + books[1][codes[:, 1]])
    np.testing.assert_allclose(summed.rows(np.array([3, 40])), summed.rows(slice(None))[[3, 40]])
