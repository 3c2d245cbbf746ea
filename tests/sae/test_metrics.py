"""Scores against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from phonoscope.errors import DataError
from phonoscope.sae.metrics import activations, feature_table, frame_sums, l0_curve, mean_output, score
from phonoscope.sae.models import SparseAutoencoder
from tests.sae.planted import gaussian, random_model

D, WIDTH = 5, 12


def _model(**changes: Any) -> SparseAutoencoder:
    shape = {"form": "autoencoder", "kind": "batchtopk", "d_in": D, "d_out": D, "d_sae": WIDTH, "k": 3}
    return random_model(**{**shape, **changes}).requires_grad_(False)


def _frames(n: int, seed: int) -> torch.Tensor:
    return gaussian(n, D, seed) + 100.0


def test_fvu_is_the_ratio_of_sums_in_float64_whatever_the_batches() -> None:
    model, x, mean = _model(), _frames(41, 1), torch.full((D,), 99.0)
    output, truth = model(x).double().numpy(), x.double().numpy()
    by_hand = ((truth - output) ** 2).sum() / ((truth - 99.0) ** 2).sum()
    for size in (41, 7):
        scores = score(model, [(part, part) for part in x.split(size)], mean)
        assert scores.fvu == pytest.approx(by_hand, rel=1e-7)
        assert scores.fvu_by_layer == (scores.fvu,)
    cosines = ((truth - 99) * (output - 99)).sum(axis=1)
    cosines /= np.linalg.norm(truth - 99, axis=1) * np.linalg.norm(output - 99, axis=1)
    assert scores.cosine == pytest.approx(cosines.mean())
    assert scores.l0 == pytest.approx((model.encode(x) > 0).sum(dim=1).double().mean())
    sums = frame_sums(model, [(part, part) for part in x.split(7)], mean)
    assert sums[:, 0].sum() / sums[:, 1].sum() == pytest.approx(scores.fvu)
    assert sums[:, 2].mean() == pytest.approx(scores.l0)
    model.threshold.fill_(torch.inf)  # no feature is active: a constant prediction of the mean
    model.b_dec.copy_(x.mean(dim=0))
    assert score(model, [(x, x)], mean_output([(x, x)]))[::2] == pytest.approx((1.0, 0.0), abs=1e-6)


def test_a_crosscoder_is_scored_layer_by_layer_too() -> None:
    model = _model(form="crosscoder", layers=2, d_in=2 * D, d_out=2 * D)
    x = _frames(30, 1).repeat(1, 2)
    scores = score(model, [(x, x)], torch.full((2 * D,), 99.0))
    error = (x - model(x)).double().pow(2).reshape(30, 2, D).sum(dim=(0, 2))
    total = (x.double() - 99.0).pow(2).reshape(30, 2, D).sum(dim=(0, 2))
    assert scores.fvu_by_layer == pytest.approx((error / total).tolist())


def test_the_mean_is_not_lost_in_float32() -> None:
    parts = [torch.full((1000, 1), 1e4 + i, dtype=torch.float32) for i in range(3)]
    assert float(mean_output([(part, part) for part in parts])) == pytest.approx(10_001.0, rel=1e-7)


def test_a_calibrated_threshold_lets_k_features_a_frame_through_or_all_positive_ones() -> None:
    model, x = _model(), _frames(400, 2)
    for k in (1, 3):
        model.shape = model.shape.model_copy(update={"k": k})
        model.calibrate(x.split(64))
        assert float((model.encode(x) > 0).sum(dim=1).double().mean()) == pytest.approx(k, abs=0.01)
    model.b_enc.sub_(1000.0)
    model.calibrate([x])
    assert not model.threshold.any()


def test_features_that_never_fire_on_train_are_dead() -> None:
    model, train, held_out = _model(), _frames(60, 1), _frames(30, 2)
    model.calibrate([train])
    model.threshold[4] = torch.inf
    table = feature_table(model, [(train, train)], [(held_out, held_out)])
    encoded = model.encode(held_out)
    assert table["density"].tolist() == pytest.approx((encoded > 0).double().mean(dim=0).tolist())
    assert table["max_activation"].tolist() == pytest.approx(encoded.amax(dim=0).tolist())
    fired = (model.encode(train) > 0).any(dim=0)
    assert table["dead"].tolist() == ["false" if f else "true" for f in fired]
    assert table.loc[4, "dead"] == "true"


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "relu"])
def test_the_l0_curve_reads_the_same_weights_out_more_and_less_sparsely(kind: str) -> None:
    model, x = _model(kind=kind), _frames(300, 1)
    before = model.threshold.clone()
    table = l0_curve(model, [x], [(x, x)], x.mean(dim=0))
    assert table["l0"].is_monotonic_increasing
    assert table["l0"].iloc[0] <= 4.01
    assert torch.equal(model.threshold, before)
    assert table["k"].tolist()[0] == 4
    assert model.shape.k == 3


def test_sparse_activations_are_those_of_encode_for_half_precision_frames() -> None:
    model, x = _model(), _frames(50, 1).half().numpy()
    sparse = activations(model, x, batch=16)
    assert sparse.dtype == np.float32
    np.testing.assert_allclose(sparse.toarray(), model.encode(torch.from_numpy(x).float()).numpy(), rtol=1e-5)
    with pytest.raises(DataError, match=f"the model takes {D} inputs, the features have 3"):
        activations(model, x[:, :3])
