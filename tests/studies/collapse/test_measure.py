from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.measure import Record, energy_coefficient, measure, paired_counts
from phonoscope.studies.collapse.variants import main_variants

from .words import BRIEF, MELS

VQ, BASELINE = (next(v for v in main_variants() if v.name == name) for name in ("vq", "baseline"))


def book_of(model: DigitClassifier) -> np.ndarray:
    return model.quantizer.codebooks()[0].numpy()


def record(codes: list[int], lengths: list[int], correct: list[bool], book: np.ndarray) -> Record:
    vectors = np.eye(8, dtype=np.float32)[np.arange(len(codes)) % 8]
    return Record(
        labels=np.arange(len(correct)) % 2,
        correct=np.array(correct),
        cross_entropy=np.arange(len(correct), dtype=np.float64),
        lengths=np.array(lengths),
        vectors=vectors,
        passed=book[codes],
        codes=np.array(codes),
        restarted=2,
        elbo=0.0,
    )


def test_measures_are_those_of_the_definitions() -> None:
    model = DigitClassifier(VQ, BRIEF, mels=MELS, classes=3, seed=0)
    book = book_of(model)
    records = [record([0, 0, 1, 1], [2, 2], [True, False], book), record([2, 2, 2], [3], [True], book)]
    vectors = np.concatenate([one.vectors for one in records])
    result = measure(records, [4, 2], vectors, model, beta=0.4, vq_weight=0.1)
    kept, passed = vectors[[0, 1, 2, 3, 4, 5]], book[[0, 0, 1, 1, 2, 2]]
    kept = np.concatenate([records[0].vectors, records[1].vectors[:2]])
    assert (result["clips"], result["vectors"]) == (3, 6)
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["majority"] == pytest.approx(2 / 3)
    assert result["cross_entropy"] == pytest.approx((0 + 1 + 0) / 3)
    assert result["perplexity_batch"] == pytest.approx((2 + 1) / 2)
    assert result["perplexity_dataset"] == pytest.approx(3)
    assert result["active_codes"] == 3
    assert result["commitment"] == pytest.approx(np.square(kept - passed).mean(), rel=1e-5)
    assert result["distance"] == pytest.approx(np.linalg.norm(kept - passed, axis=1).mean(), rel=1e-5)
    assert result["loss"] == pytest.approx(result["cross_entropy"] + 0.1 * 0.4 * result["commitment"])
    assert result["restart_share"] == pytest.approx(2 / 8)
    assert result["clips_on_top_2"] == pytest.approx(2 / 3)  # the codes 0 and 1 of the counted vectors, and all of 2
    assert result["code_norm"] == pytest.approx(1, abs=1e-5)


def test_without_a_quantizer_nothing_is_said_of_codes() -> None:
    model = DigitClassifier(BASELINE, BRIEF, mels=MELS, classes=3, seed=0)
    vectors = np.eye(8, dtype=np.float32)
    plain = Record(
        np.zeros(1, np.int64),
        np.array([True]),
        np.array([0.5]),
        np.array([8]),
        vectors,
        vectors,
        np.empty(0, np.int64),
        0,
        0.0,
    )
    result = measure([plain], [8], vectors, model, beta=0.4, vq_weight=0.1)
    assert result == {
        "clips": 1, "vectors": 8, "accuracy": 1.0, "majority": 1.0, "cross_entropy": 0.5, "loss": 0.5, "drift": 0.0,
    }  # fmt: skip


def test_one_code_reads_one_but_for_the_printed_formula() -> None:
    config = BRIEF.model_copy(update={"codes": 512})
    model = DigitClassifier(VQ, config, mels=MELS, classes=3, seed=0)
    one = record([7] * 6, [3, 3], [True, True], book_of(model))
    result = measure([one], [6], one.vectors, model, beta=0.4, vq_weight=0.1)
    assert result["perplexity_batch"] == result["perplexity_dataset"] == 1.0
    assert result["perplexity_printed"] == pytest.approx(1.0606, abs=1e-4)
    assert (result["active_codes"], result["top_code"], result["clips_on_top_2"]) == (1, 7, 1.0)


def test_paired_counts_take_as_many_vectors_of_either() -> None:
    assert paired_counts([5, 7, 9], [6, 4]) == [5, 4, 0]


def test_the_energy_coefficient_is_that_of_its_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 3)).astype(np.float32), rng.normal(1.0, size=(30, 3)).astype(np.float32)
    between = np.mean([np.linalg.norm(x - y) for x in a for y in b])
    within = sum(np.mean([np.linalg.norm(x - y) for x in s for y in s]) for s in (a, b))
    assert energy_coefficient(a, b) == pytest.approx((2 * between - within) / (2 * between), rel=1e-5)
    assert energy_coefficient(a, a) == 0
    assert energy_coefficient(a[:1], a[:1] + 1) == 1


@given(st.integers(0, 1000), st.floats(0.1, 100))
def test_the_energy_coefficient_is_symmetric_and_free_of_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(12, 2)), rng.normal(0.5, size=(9, 2))
    assert cdist(a, b).mean() > 0
    assert energy_coefficient(a, b) == pytest.approx(energy_coefficient(b, a))
    assert energy_coefficient(scale * a, scale * b) == pytest.approx(energy_coefficient(a, b), abs=1e-9)
    assert 0 <= energy_coefficient(a, b) <= 1


def test_records_carry_no_gradient() -> None:
    model = DigitClassifier(VQ, BRIEF, mels=MELS, classes=3, seed=0)
    decision = model(torch.randn(2, 8, MELS), torch.tensor([8, 5]))
    kept = Record.of(decision, torch.tensor([0, 1]), 0.0)
    assert kept.vectors.shape == kept.passed.shape == (7, 8)
    assert kept.codes.tolist() == decision.quantized.codes[:, 0].tolist()
    assert decision.logits.requires_grad
