from __future__ import annotations

import numpy as np
import pytest
import torch

from phonoscope.studies.collapse.checks import check_codebook, check_gradient, check_state, train_mode_rows
from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.evaluation import Evaluator
from phonoscope.studies.collapse.variants import main_variants

from .words import BRIEF, MELS, planted_words

MATERIAL = planted_words()
EVALUATOR = Evaluator(MATERIAL, 0, batch_size=8, beta=0.4)


def trained(name: str, passes: int = 12) -> DigitClassifier:
    """A model whose codebook has seen some batches."""
    torch.manual_seed(0)
    variant = next(variant for variant in main_variants() if variant.name == name)
    model = DigitClassifier(variant, BRIEF, mels=MELS, classes=3, seed=1)
    batch = MATERIAL.train.batch(np.arange(16))
    model.start(batch.mel, batch.lengths, data_driven=True)
    with torch.no_grad():
        for _ in range(passes):
            model.train()(batch.mel, batch.lengths)
    return model.eval()


def test_evaluation_changes_the_state_in_train_mode_only() -> None:
    assert check_state(trained("vq_unscaled"), EVALUATOR) == {
        "state_changed_in_eval": 0,
        "state_changed_in_train": pytest.approx(4, abs=1),
    }
    assert check_state(trained("baseline"), EVALUATOR)["state_changed_in_train"] == 0


@pytest.mark.parametrize("name", ["baseline", "vq", "vq_hdp"])
def test_the_straight_through_gradient_is_found_whole(name: str) -> None:
    result = check_gradient(trained(name), EVALUATOR.first_batch())
    assert result["gradient_cosine"] == pytest.approx(1, abs=1e-4)
    assert result["gradient_encoder"] > 0
    assert result["evaluated_with_graph"] == 0
    assert result["graph_matters"] < 1e-4
    assert (result["sequence_matters"] > 0) == (name == "vq_hdp")


def test_a_frozen_encoder_can_be_checked_and_stays_frozen() -> None:
    model = trained("vq")
    model.encoder.requires_grad_(False)
    assert check_gradient(model, EVALUATOR.first_batch())["gradient_encoder"] > 0
    assert not model.encoder.project.weight.requires_grad


def test_the_repaired_codebook_is_that_of_the_running_means() -> None:
    faulty, right = trained("vq_unscaled"), trained("vq")
    result = check_codebook(faulty, EVALUATOR)
    assert result["code_scale"] == pytest.approx(result["ema_total"], rel=0.01)
    assert result["repaired_active_codes"] > 1
    healthy = check_codebook(right, EVALUATOR)
    assert healthy["code_scale"] == pytest.approx(1, abs=0.01)
    rows = EVALUATOR.rows(right, EVALUATOR.passes(right), 0.0)
    assert healthy["repaired_perplexity"] == pytest.approx(rows[1]["perplexity_dataset"], rel=0.2)
    assert check_codebook(trained("baseline"), EVALUATOR) == {}


def test_evaluation_in_train_mode_leaves_the_model_as_it_was() -> None:
    model = trained("vq")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    rows = train_mode_rows(model, EVALUATOR, 0.1)
    assert {row["split"] for row in rows} == {"train", "eval"}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.training
