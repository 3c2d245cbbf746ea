from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from phonoscope.config.codecs import CodecConfig, TrainingConfig


def test_defaults_are_the_packaged_models() -> None:
    config = CodecConfig(kind="encodec")
    assert (config.checkpoint, config.layers, config.adapt_steps, config.distill) == ("packaged", 8, "auto", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 0},
        {"adapt_steps": -1},
        {"adapt_steps": "some"},
        {"checkpoint": "untrained", "adapt_steps": 10},
        {"step": 3},
    ],
)
def test_impossible_codecs_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CodecConfig(**{"kind": "encodec", **changes})


@pytest.mark.parametrize(
    "changes",
    [
        *({"clip_s": 0.1}, {"batch_size": 0}, {"lr": 0}, {"decay": 1.0}, {"dead_usage": 1.0}),
        *(
            {"quantizer_dropout": 1.1},
            {"commitment_weight": -1},
            {"teacher_layer": 0},
            {"log_every": 0},
            {"warm_up": 3},
        ),
    ],
)
def test_impossible_training_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingConfig(**changes)
