from __future__ import annotations

import numpy as np

from phonoscope.studies.collapse.evaluation import Evaluator, Material, vector_counts

from .words import classifier, planted_clips, planted_words


def evaluator(material: Material) -> Evaluator:
    return Evaluator(material, 0, batch_size=5, beta=0.4)


def test_as_many_clips_of_train_as_of_eval_and_as_many_others() -> None:
    chosen = evaluator(planted_words(train=30, held_out=12)).chosen
    assert len(chosen["train"]) == len(chosen["other"]) == 12
    assert not set(chosen["train"]) & set(chosen["other"])
    assert {name: clips.tolist() for name, clips in evaluator(planted_words()).chosen.items()} == {
        name: clips.tolist() for name, clips in chosen.items()
    }


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
    assert evaluated.batches == 3
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


def test_the_clips_of_eval_are_shuffled_and_the_first_batch_is_theirs() -> None:
    material = planted_words()
    evaluated = evaluator(material)
    order = evaluated.chosen["eval"].tolist()
    assert sorted(order) == list(range(12)) != order
    assert evaluated.first_batch().labels.tolist() == material.held_out.labels[order[:5]].tolist()
