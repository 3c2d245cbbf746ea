from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from phonoscope.config.probes import ProbeConfig


@pytest.mark.parametrize(
    "bad",
    [
        {"classifier": {"C": 0}},
        {"classifier": {"max_iter": 0}},
        {"classifier": {"class_weight": "equal"}},
        {"classifier": {"tolerance": 0}},
        {"phone": {"silence": True}},
        {"alpha": -1},
        {"bootstrap": {"confidence": 1}},
        {"codebook_permutations": 0},
        {"layers": [0]},
        {"blocks": [0.5, 0.2, 1.0]},
    ],
)
def test_impossible_values_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ProbeConfig.model_validate(bad)


def test_reading_the_parameters_imports_nothing_heavy() -> None:
    code = "import sys, phonoscope.config.probes; print([m for m in ('numpy', 'scipy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_resolves() -> None:
    import phonoscope.probes as probes

    found = {name: getattr(probes, name) for name in probes.__all__}
    assert all(getattr(value, "__name__", name) == name for name, value in found.items())
    with pytest.raises(AttributeError, match="fit_everything"):
        _ = probes.fit_everything
