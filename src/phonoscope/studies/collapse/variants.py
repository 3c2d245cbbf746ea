"""The models of the ablation: parts, update, and the settings of an arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from phonoscope.config.vq import VqConfig

UNSCALED = "_unscaled"  # suffix of a variant under the faulty update
PARTS = ("baseline", "vq", "hdp", "hsmm", "vq_hdp", "vq_hsmm", "hdp_hsmm", "vq_hdp_hsmm")


@dataclass(frozen=True)
class Variant:
    """One model of the ablation under one setting."""

    name: str
    update: Literal["ema", "ema_unscaled"] | None = None  # of the quantizer; None without one
    sequence: Literal["hdp", "hsmm", "hdp_hsmm"] | None = None
    arm: str = ""  # whose settings it is trained with; empty for the settings of the study

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


def _with_updates(parts: str, arm: str = "") -> list[Variant]:
    name = f"{parts}_{arm}" if arm else parts
    sequence: Any = parts.removeprefix("baseline").removeprefix("vq").removeprefix("_") or None
    if not parts.startswith("vq"):
        return [Variant(name, None, sequence, arm)]
    return [Variant(name, "ema", sequence, arm), Variant(f"{name}{UNSCALED}", "ema_unscaled", sequence, arm)]


def runs(config: VqConfig) -> list[tuple[Variant, int]]:
    """Every variant with every index of its seeds, from 1."""
    main = [(variant, index) for variant in main_variants() for index in range(1, config.seeds + 1)]
    arms = [(variant, index) for variant in arm_variants(config.arms) for index in range(1, config.arm_seeds + 1)]
    return main + arms
