from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from phonoscope.config.compute import ComputeConfig
from phonoscope.config.vq import VqConfig
from phonoscope.studies.collapse.ablation import Run, RunResult, train_run
from phonoscope.studies.collapse.variants import arm_variants, main_variants

from .words import BRIEF, planted_words

COMPUTE = ComputeConfig(workers=1, device="cuda")  # which the study does not ask for
VARIANTS = {variant.name: variant for variant in main_variants() + arm_variants(VqConfig().arms)}


def untrained(name: str = "vq", **changes: Any) -> Run:
    return Run(VARIANTS[name], 1, BRIEF.model_copy(update=changes), planted_words())


def ran(name: str, index: int = 1, **changes: Any) -> RunResult:
    config = BRIEF.model_copy(update=changes)
    return train_run((VARIANTS[name], index), config=config, material=planted_words(), compute=COMPUTE)


@pytest.mark.parametrize("name", ["baseline", "vq", "vq_hdp_unscaled"])
def test_a_run_measures_every_epoch_and_at_its_end_every_batch(name: str) -> None:
    result = ran(name)
    rows = pd.DataFrame(result.rows)
    assert not rows.isna().to_numpy().any()
    whole = rows[rows["batch"] == 0]
    each = [("fit", "train"), ("eval", "train"), ("eval", "eval")]
    last = [("train", "train"), ("train", "eval")]
    places = [(*kind, 1, 4) for kind in each] + [(*kind, 2, 6) for kind in each + last]
    assert [tuple(place) for place in whole[["mode", "split", "epoch", "step"]].to_numpy()] == places
    single = rows[rows["batch"] > 0].groupby(["mode", "split"])["batch"].max()
    assert single.to_dict() == {(mode, split): 2 for mode in ("eval", "train") for split in ("eval", "train")}
    assert ("perplexity_ema" in rows) == ("vq" in name)
    assert ("elbo" in rows) == ("hdp" in name)
    assert set(result.evidence) == {"train", "eval"}


def test_a_run_is_the_same_each_time_and_another_from_another_seed() -> None:
    first, again, other = ran("vq_hsmm"), ran("vq_hsmm"), ran("vq_hsmm", index=2)
    assert first.rows == again.rows
    assert all(torch.equal(value, again.weights[key]) for key, value in first.weights.items())
    assert first.rows[-1]["cross_entropy"] != other.rows[-1]["cross_entropy"]


def test_variants_of_one_seed_start_from_the_same_encoder() -> None:
    first, second = (untrained(name).model.encoder.state_dict() for name in ("baseline", "vq_hdp_hsmm"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_the_length_is_in_steps_or_in_epochs_and_the_quantizers_loss_warmed_up_over_its_own() -> None:
    assert untrained().steps == 6
    assert untrained(epochs=150).steps == 150 * 4
    run, weights = untrained(warmup_epochs=10), []
    for run.epoch in (1, 6, 11, 30):
        weights.append(run.vq_weight)
    assert weights == pytest.approx([0.0, 0.05, 0.1, 0.1])


@pytest.mark.parametrize(("steps", "stays"), [(4, True), (8, False)])
def test_a_frozen_encoder_stays_as_it_was_for_its_epochs(steps: int, stays: bool) -> None:
    run = untrained("vq_frozen_encoder", frozen_epochs=1, steps=steps)
    before = run.model.encoder.project.weight.detach().clone()
    run.train()
    assert torch.equal(before, run.model.encoder.project.weight) == stays


def test_the_planted_words_are_learned_under_the_right_update() -> None:
    rows = pd.DataFrame(ran("vq", steps=120, lr=5e-3, codes=16).rows)
    last = rows[(rows["mode"] == "eval") & (rows["split"] == "eval") & (rows["batch"] == 0)].iloc[-1]
    assert last["accuracy"] > 0.9
    assert last["code_norm_max"] <= 1 + 1e-5


def test_the_faulty_update_blows_codes_up_to_the_emas_count() -> None:
    result = ran("vq_unscaled", steps=40)
    last = [row for row in result.rows if row["mode"] == "eval" and row["split"] == "eval"][-1]
    assert last["code_norm_max"] > 0.5 * last["ema_total"] > 10
    assert result.checks["code_scale"] == pytest.approx(result.checks["ema_total"], rel=0.01)


@pytest.mark.parametrize("name", ["vq", "vq_unscaled", "vq_hdp"])
def test_batches_of_one_and_a_codebook_of_one_code_can_be_run(name: str) -> None:
    rows = pd.DataFrame(ran(name, codes=1, batch_size=1, steps=3).rows)
    assert (rows[["perplexity_batch", "perplexity_dataset", "perplexity_ema", "active_codes"]] == 1).all(axis=None)
    assert np.isfinite(rows.drop(columns=["mode", "split"]).to_numpy(dtype=float)).all()
