"""Impossible settings are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from phonoscope.config.sae import SaeConfig


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sites": ["encoder_3", "encoder_x"]}, "no site is called 'encoder_x'"),
        ({"sites": ["mlp_0"]}, "no site is called 'mlp_0'"),
        ({"sites": ["encoder_1", "encoder_1"]}, "twice"),
        ({"k": 0}, "greater than or equal to 1"),
        ({"epochs": 0}, "greater than 0"),
        ({"dead_tokens": 10}, "Extra inputs"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SaeConfig.model_validate(changes)
