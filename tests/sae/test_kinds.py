"""Registry of the kinds: names and options."""

from __future__ import annotations

from typing import Any

import pytest

from phonoscope.errors import ParamsError
from phonoscope.sae.kinds import build_kind, register
from phonoscope.sae.kinds.topk import TopK


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
