"""The models of the ablation: parts, update, and the settings of an arm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from phonoscope.config.vq import VqConfig

UNSCALED = "_unscaled"
"""Suffix of a variant under the faulty update."""
PARTS = ("baseline", "vq", "hdp", "hsmm", "vq_hdp", "vq_hsmm", "hdp_hsmm", "vq_hdp_hsmm")


@dataclass(frozen=True)
class Variant:
    """One model of the ablation under one setting."""

    name: str
    update: Literal["ema", "ema_unscaled"] | None = None
    """Update of the quantizer; None without a quantizer."""
    sequence: Literal["hdp", "hsmm", "hdp_hsmm"] | None = None
    """The sequence model; `hdp_hsmm` is the weak-limit HDP-HSMM."""
    arm: str = ""
    """The arm whose settings it is trained with; empty for the settings of the study."""

    @property
    def quantized(self) -> bool:
        return self.update is not None

    @property
    def faulty(self) -> bool:
        return self.update == "ema_unscaled"

    def settings(self, config: VqConfig) -> VqConfig:
        """The parameters it is trained with."""
        changes: dict[str, dict[str, Any]] = {
            "older": config.older.model_dump(),
            "no_augmentation": {"augment": False},
            "random_start": {"start": "random"},
        }
        return config.model_copy(update=changes.get(self.arm, {}))

    def frozen_epochs(self, config: VqConfig) -> int:
        return config.frozen_epochs if self.arm == "frozen_encoder" else 0


def main_variants() -> list[Variant]:
    """The eight combinations of parts; with a quantizer, under the right and under the faulty update."""
    return [variant for parts in PARTS for variant in _with_updates(parts)]


def arm_variants(arms: Sequence[str]) -> list[Variant]:
    """`vq` and `vq_unscaled` under the settings of each arm."""
    return [variant for arm in arms for variant in _with_updates("vq", arm)]


def _with_updates(parts: str, arm: str = "") -> Iterator[Variant]:
    quantized = parts.startswith("vq")
    sequence: Any = parts.removeprefix("vq").removeprefix("_") if parts != "baseline" else None
    name = f"{parts}_{arm}" if arm else parts
    yield Variant(name, "ema" if quantized else None, sequence or None, arm)
    if quantized:
        yield Variant(f"{name}{UNSCALED}", "ema_unscaled", sequence or None, arm)


def runs(config: VqConfig) -> list[tuple[Variant, int]]:
    """Every variant with every index of its seeds, from 1."""
    main = [(variant, index) for variant in main_variants() for index in range(1, config.seeds + 1)]
    arms = [(variant, index) for variant in arm_variants(config.arms) for index in range(1, config.arm_seeds + 1)]
    return main + arms
