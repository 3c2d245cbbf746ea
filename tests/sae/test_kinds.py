"""Registry of the kinds: names, options, and a kind from elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from phonoscope.errors import ParamsError
from phonoscope.sae import train_sae
from phonoscope.sae.kinds import build_kind, kinds, register
from phonoscope.sae.kinds.base import _KINDS
from phonoscope.sae.kinds.topk import TopK
from tests.sae.planted import config, plant


def test_every_file_of_the_folder_is_a_kind() -> None:
    assert list(kinds()) == ["batchtopk", "jumprelu", "matryoshka", "relu", "topk"]


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


def test_a_name_is_registered_once_and_a_new_kind_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="registered already"):
        register("topk")(TopK)
    monkeypatch.setattr("phonoscope.sae.kinds.base._KINDS", dict(_KINDS))

    @register("top1")
    class Top1(TopK):
        """One feature a frame, whatever k."""

    fitted = train_sae(plant(300).frames, config=config(kind="top1", epochs=1))
    assert isinstance(fitted.model.kind, Top1)
