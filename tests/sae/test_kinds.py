"""Registry of the kinds: names and options; what one kind lets through."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from phonoscope.errors import ParamsError
from phonoscope.sae.kinds import build_kind, register
from phonoscope.sae.kinds.topk import TopK
from phonoscope.sae.train import losses
from tests.sae.planted import gaussian, random_model


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("batchtop", {}, "did you mean 'batchtopk'"),
        ("gelu", {}, "relu"),
        ("relu", {"l2": 1.0}, "the kind has l1"),
        ("relu", {"l1": -1.0}, "greater than or equal to 0"),
        ("relu", {"l1": True}, "valid number"),
        ("topk", {"l1": 1.0}, "the kind has no options"),
        ("matryoshka", {"groups": [0.5, 0.25, 1.0]}, "ascend"),
        ("matryoshka", {"groups": [0.5]}, "ascend"),
        ("matryoshka", {"groups": []}, "ascend"),
    ],
)
def test_unknown_kinds_and_wrong_options_are_refused(name: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParamsError, match=reason):
        build_kind(name, options)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register("topk")(TopK)


def test_jumprelu_lets_no_negative_value_through_and_has_the_l0_of_its_training() -> None:
    """With k near half the width some thresholds are learned below 0, which training reads as 0."""
    model, x = random_model(kind="jumprelu", d_in=6, d_out=6, d_sae=40, k=20), gaussian(500, 6, seed=1)
    assert (model.threshold < 0).any()
    pattern, values, _ = model.select(x)
    trained = losses(model, x, x, pattern, values)
    activations = model.encode(x)
    assert (activations >= 0).all()
    assert float((activations > 0).sum(dim=1).double().mean()) == pytest.approx(float(trained.l0))
    torch.testing.assert_close(x - model(x), trained.error)
