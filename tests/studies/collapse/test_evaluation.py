from __future__ import annotations

import numpy as np
import torch

from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.evaluation import Evaluator, Material, vector_counts
from phonoscope.studies.collapse.variants import Variant

from .words import BRIEF, MELS, planted_clips, planted_words


def evaluator(material: Material) -> Evaluator:
    return Evaluator(material, 0, batch_size=5, beta=0.4)


def classifier() -> DigitClassifier:
    torch.manual_seed(0)
    return DigitClassifier(Variant("vq", "ema"), BRIEF, mels=MELS, classes=3, seed=1).eval()


def test_as_many_clips_of_train_as_of_eval_and_as_many_others() -> None:
    chosen = evaluator(planted_words(train=30, held_out=12)).chosen
    assert len(chosen["train"]) == len(chosen["other"]) == 12
    assert not set(chosen["train"]) & set(chosen["other"])
    assert {name: clips.tolist() for name, clips in evaluator(planted_words()).chosen.items()} == {
        name: clips.tolist() for name, clips in chosen.items()
    }


def test_where_train_is_the_smaller_eval_is_still_measured_whole() -> None:
    tiny = evaluator(planted_words(train=6, held_out=12))
    model = classifier()
    result = tiny.passes(model)
    assert len(tiny.chosen["train"]) == 3
    rows = {row["split"]: row for row in tiny.rows(model, result, 0.1)}
    assert rows["eval"]["clips"] == 12
    assert rows["train"]["vectors"] == rows["eval"]["vectors"]


def test_train_and_eval_are_measured_on_equal_numbers_of_vectors_in_every_batch() -> None:
    own, model = evaluator(planted_words()), classifier()
    result = own.passes(model)
    rows = own.rows(model, result, 0.1, each=True)
    vectors = {(row["split"], row["batch"]): row["vectors"] for row in rows}
    counts = vector_counts(result)
    assert own.batches == 3
    assert vectors == {
        (split, batch): count for split in ("train", "eval") for batch, count in enumerate([sum(counts), *counts])
    }


def test_the_same_clips_give_the_same_measures_as_train_and_as_eval() -> None:
    clips = planted_clips(12, 3, seed=0)
    own, model = evaluator(Material(clips, clips, 3)), classifier()
    own.chosen = dict.fromkeys(("train", "other", "eval"), np.arange(12))
    first, second = own.rows(model, own.passes(model), 0.1)
    assert {**first, "split": ""} == {**second, "split": ""}


def test_the_clips_of_eval_are_shuffled_and_the_first_batch_is_theirs() -> None:
    material = planted_words()
    own = evaluator(material)
    order = own.chosen["eval"].tolist()
    assert order != list(range(12))
    assert sorted(order) == list(range(12))
    assert own.first_batch().labels.tolist() == material.held_out.labels[order[:5]].tolist()


def test_a_training_row_is_cut_to_the_vectors_that_are_measured() -> None:
    own, model = evaluator(planted_words()), classifier()
    result = own.passes(model)
    row = own.fit_row(model, result["other"], result, 0.1)
    assert row["vectors"] <= sum(vector_counts(result))
    assert (row["split"], row["batch"]) == ("train", 0)
