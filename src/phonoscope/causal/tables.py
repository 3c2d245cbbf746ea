"""Verdicts: trials of chosen features and their controls, and of patched parts, as tidy tables with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from phonoscope.compute import derive_seed
from phonoscope.config.causal import CausalConfig
from phonoscope.stats import Interval, ratio_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 5
"""Fewest utterances for a bootstrap interval."""
SIDES = {"ablate": "target", "steer": "other"}
"""Words whose log-probability should fall: without its detector, those with the phone; with steering, those without."""


def feature_verdicts(rows: pd.DataFrame, settings: CausalConfig) -> dict[str, dict[str, float]]:
    """Effect, control effect, difference and word error rates of each intervention.

    Args:
        rows: of one feature (or of several, whose utterances then count together): utterance, condition, target,
            targets, other, others, errors, words.
    Returns: `ablate` and `steer`; one is missing if fewer than `LEAST` utterances have a word on its side. All effects
        are changes of log-probability against the clean run, in nats a word.
    """
    verdicts = {}
    for intervention, side in SIDES.items():
        change = _changes(rows, side)
        counts = _by_utterance(rows, f"{side}s", "clean")
        if (counts > 0).sum() < LEAST:
            continue
        seed = derive_seed(settings.seed, intervention)
        tested, control = change[intervention].to_numpy(), change[f"{intervention}_control"].to_numpy()
        effects = {
            "effect": _interval(tested, counts, settings, seed),
            "control_effect": _interval(control, counts, settings, seed),
            "difference": _interval(tested - control, counts, settings, seed),
        }
        rates = {"clean": "wer_clean", intervention: "wer", f"{intervention}_control": "control_wer"}
        verdicts[intervention] = {
            "utterances": float((counts > 0).sum()),
            "words": float(counts.sum()),
            **_flat(effects),
            **{name: word_error_rate(rows, condition) for condition, name in rates.items()},
        }
    return verdicts


def beats_controls(verdict: dict[str, float]) -> bool:
    """Whether the words lose probability, and more than under the control, beyond chance."""
    return verdict["effect"] < 0 and verdict["difference_high"] < 0


def patching_table(rows: pd.DataFrame, settings: CausalConfig) -> pd.DataFrame:
    """Share of the loss by noise that each part restores: a row a part.

    Columns: part (its name ends with the layer), recovered (of the target word's log-probability; 0 noisy, 1 clean)
    with its interval, recovered_all (of all words), logprob (of the target word) and wer; the parts `clean` and `noisy`
    come first.
    """
    target = rows.pivot_table(index="utterance", columns="condition", values="target", sort=False)
    every = target + rows.pivot_table(index="utterance", columns="condition", values="other", sort=False)
    ones = np.ones(len(target))
    seed = derive_seed(settings.seed, "patching")
    table = []
    for condition in dict.fromkeys(rows["condition"]):
        gain = (target[condition] - target["noisy"]).to_numpy()
        lost = (target["clean"] - target["noisy"]).to_numpy()
        recovered = _interval(gain, lost, settings, seed) if lost.sum() > 0 else Interval(0.0, 0.0, 0.0)
        lost_all = float((every["clean"] - every["noisy"]).sum())
        gain_all = float((every[condition] - every["noisy"]).sum())
        table.append(
            {
                "part": condition,
                **_flat({"recovered": recovered}),
                "recovered_all": gain_all / lost_all if lost_all > 0 else 0.0,
                **_flat({"logprob": _interval(target[condition].to_numpy(), ones, settings, seed)}),
                "wer": word_error_rate(rows, condition),
            }
        )
    return pd.DataFrame(table)


def features_beat_controls(rows: pd.DataFrame, settings: CausalConfig) -> Interval:
    """How much more the chosen features' contribution restores than their controls', in nats a target word."""
    target = rows.pivot_table(index="utterance", columns="condition", values="target", sort=False)
    gain = (target["features"] - target["features_control"]).to_numpy()
    return _interval(gain, np.ones(len(gain)), settings, derive_seed(settings.seed, "patching"))


def word_error_rate(rows: pd.DataFrame, condition: str) -> float:
    """Wrong words over reference words, over all utterances of a condition."""
    chosen = rows[rows["condition"] == condition]
    return float(chosen["errors"].sum() / max(1, chosen["words"].sum()))


def _changes(rows: pd.DataFrame, side: str) -> pd.DataFrame:
    """By utterance (rows) and condition (columns): the summed log-probability's change against the clean run."""
    summed = rows.pivot_table(index="utterance", columns="condition", values=side, aggfunc="sum", sort=False)
    return summed.sub(summed["clean"], axis=0)


def _by_utterance(rows: pd.DataFrame, column: str, condition: str) -> NDArray[np.float64]:
    chosen = rows[rows["condition"] == condition]
    return chosen.groupby("utterance", sort=False)[column].sum().to_numpy(dtype=np.float64)


def _interval(totals: NDArray[np.float64], counts: NDArray[np.float64], settings: CausalConfig, seed: int) -> Interval:
    return ratio_interval(totals, counts, samples=settings.samples, confidence=settings.confidence, seed=seed)


def _flat(effects: dict[str, Interval]) -> dict[str, Any]:
    return {
        f"{name}{suffix}": value
        for name, effect in effects.items()
        for suffix, value in zip(("", "_low", "_high"), effect, strict=True)
    }
