import numpy as np
import pytest
import torch

from phonoscope.studies.collapse.checks import check_codebook, check_gradient, check_state
from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.evaluation import Evaluator

from .words import classifier, planted_words

MATERIAL = planted_words()
EVALUATOR = Evaluator(MATERIAL, 0, batch_size=8, beta=0.4)


def trained(name: str, passes: int = 12) -> DigitClassifier:
    """A model whose codebook has seen some batches."""
    model, batch = classifier(name), MATERIAL.train.batch(np.arange(16))
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
def test_the_whole_straight_through_gradient_arrives_also_at_a_frozen_encoder(name: str) -> None:
    model = trained(name)
    model.encoder.requires_grad_(name != "vq")
    result = check_gradient(model, EVALUATOR.batches("eval")[0])
    assert result["gradient_cosine"] == pytest.approx(1, abs=1e-4)
    assert result["gradient_encoder"] > 0
    assert result["evaluated_with_graph"] == 0
    assert result["graph_matters"] < 1e-4
    assert (result["sequence_matters"] > 0) == (name == "vq_hdp")
    assert model.encoder.project.weight.requires_grad == (name != "vq")


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
