import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.evaluation import Evaluator, Record, energy_coefficient, measure, vector_counts
from phonoscope.studies.collapse.features import Material

from .words import BRIEF, classifier, planted_clips, planted_words


def record(codes: list[int], lengths: list[int], correct: list[bool], model: DigitClassifier) -> Record:
    count = len(correct)
    return Record(
        labels=np.arange(count) % 2,
        correct=np.array(correct),
        cross_entropy=np.arange(count, dtype=np.float64),
        lengths=np.array(lengths),
        vectors=np.eye(8, dtype=np.float32)[np.arange(len(codes)) % 8],
        passed=model.quantizer.codebooks()[0].numpy()[codes],
        codes=np.array(codes),
        restarted=2,
        elbo=0.0,
    )


def test_measures_are_those_of_the_definitions() -> None:
    model = classifier()
    records = [record([0, 0, 1, 1], [2, 2], [True, False], model), record([2, 2, 2], [3], [True], model)]
    vectors = np.concatenate([one.vectors for one in records])
    result = measure(records, [4, 2], vectors, model, 0.04)
    kept = np.concatenate([records[0].vectors, records[1].vectors[:2]])
    passed = np.concatenate([records[0].passed, records[1].passed[:2]])
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
    vectors, none = np.eye(8, dtype=np.float32), np.empty(0, np.int64)
    plain = Record(
        np.zeros(1, np.int64), np.array([True]), np.array([0.5]), np.array([8]), vectors, vectors, none, 0, 0.0
    )
    assert measure([plain], [8], vectors, classifier("baseline"), 0.04) == {
        "clips": 1, "vectors": 8, "accuracy": 1.0, "majority": 1.0, "cross_entropy": 0.5, "loss": 0.5, "drift": 0.0,
    }  # fmt: skip


def test_one_code_reads_one_but_for_the_printed_formula() -> None:
    model = classifier("vq", BRIEF.model_copy(update={"codes": 512}))
    one = record([7] * 6, [3, 3], [True, True], model)
    result = measure([one], [6], one.vectors, model, 0.04)
    assert result["perplexity_batch"] == result["perplexity_dataset"] == 1.0
    assert result["perplexity_printed"] == pytest.approx(1.0606, abs=1e-4)
    assert (result["active_codes"], result["top_code"], result["clips_on_top_2"]) == (1, 7, 1.0)


@given(st.integers(0, 1000), st.floats(0.1, 100))
def test_the_energy_coefficient_is_that_of_its_formula_and_free_of_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(12, 3)), rng.normal(0.5, size=(9, 3))
    between = np.mean([np.linalg.norm(x - y) for x in a for y in b])
    within = sum(np.mean([np.linalg.norm(x - y) for x in s for y in s]) for s in (a, b))
    result = energy_coefficient(a, b)
    assert result == pytest.approx((2 * between - within) / (2 * between), rel=1e-5)
    assert result == pytest.approx(energy_coefficient(b, a))
    assert energy_coefficient(scale * a, scale * b) == pytest.approx(result, abs=1e-9)
    assert 0 <= result <= 1
    assert energy_coefficient(a, a) == 0
    assert energy_coefficient(a[:1], a[:1] + 1) == 1


def evaluator(material: Material) -> Evaluator:
    return Evaluator(material, 0, batch_size=5, beta=0.4)


def test_as_many_clips_of_train_as_of_the_shuffled_eval_and_as_many_others() -> None:
    material = planted_words(train=30, held_out=12)
    evaluated = evaluator(material)
    chosen, order = evaluated.chosen, evaluated.chosen["eval"].tolist()
    assert sorted(order) == list(range(12)) != order
    assert evaluated.batches("eval")[0].labels.tolist() == material.held_out.labels[order[:5]].tolist()
    assert len(chosen["train"]) == len(chosen["other"]) == 12
    assert not set(chosen["train"]) & set(chosen["other"])
    assert {name: clips.tolist() for name, clips in evaluator(planted_words()).chosen.items()} == {
        name: clips.tolist() for name, clips in chosen.items()
    }


def test_batches_count_as_many_vectors_as_the_smaller_side_has() -> None:
    model = classifier()
    passes = {
        split: [record([0] * size, [size], [True], model) for size in sizes]
        for split, sizes in (("train", [5, 7, 9]), ("eval", [6, 4]))
    }
    assert vector_counts(passes) == [5, 4, 0]


def test_where_train_is_the_smaller_eval_is_still_measured_whole() -> None:
    tiny = evaluator(planted_words(train=6, held_out=12))
    model = classifier().eval()
    result = tiny.passes(model)
    assert len(tiny.chosen["train"]) == 3
    rows = {row["split"]: row for row in tiny.rows(model, result, 0.1)}
    assert rows["eval"]["clips"] == 12
    assert rows["train"]["vectors"] == rows["eval"]["vectors"]


def test_train_and_eval_are_measured_on_equal_numbers_of_vectors_in_every_batch() -> None:
    evaluated, model = evaluator(planted_words()), classifier().eval()
    result = evaluated.passes(model)
    rows = evaluated.rows(model, result, 0.1, each=True)
    vectors = {(row["split"], row["batch"]): row["vectors"] for row in rows}
    counts = vector_counts(result)
    assert len(evaluated.batches("train")) == len(counts) == 3
    assert vectors == {
        (split, batch): count for split in ("train", "eval") for batch, count in enumerate([sum(counts), *counts])
    }
    row = evaluated.fit_row(model, result["other"], result, 0.1)  # a training row is cut to the same number
    assert row["vectors"] <= sum(counts)
    assert (row["split"], row["batch"]) == ("train", 0)


def test_the_same_clips_give_the_same_measures_as_train_and_as_eval() -> None:
    clips = planted_clips(12, 3, seed=0)
    own, model = evaluator(Material(clips, clips, 3)), classifier().eval()
    own.chosen = dict.fromkeys(("train", "other", "eval"), np.arange(12))
    first, second = own.rows(model, own.passes(model), 0.1)
    assert {**first, "split": ""} == {**second, "split": ""}
