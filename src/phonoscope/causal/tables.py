"""Verdicts: trials of chosen features and their controls, and of patched parts, as tidy tables with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
from phonoscope.config.causal import CausalConfig
from phonoscope.stats import Interval, ratio_interval

LEAST = 5  # utterances for a bootstrap interval
SIDES = {"ablate": "target", "steer": "other"}
"""Words whose log-probability should fall: without its detector, those with the phone; with steering, those without."""


def feature_verdicts(rows: pd.DataFrame, settings: CausalConfig) -> dict[str, dict[str, float]]:
    """Effect, control effect, difference and word error rates of `ablate` and `steer`, from the rows of trials.

    All effects are changes of log-probability against the clean run, in nats a word. An intervention is missing if
    fewer than `LEAST` utterances have a word on its side. Utterances of several features count together.
    """
    verdicts = {}
    for intervention, side in SIDES.items():
        control = f"{intervention}_control"
        counts = _by_condition(rows, f"{side}s")["clean"].to_numpy(dtype=np.float64)
        if (counts > 0).sum() < LEAST:
            continue
        seed = derive_seed(settings.seed, intervention)
        summed = _by_condition(rows, side)
        changes = {name: (summed[name] - summed["clean"]).to_numpy() for name in (intervention, control)}
        verdicts[intervention] = {
            "utterances": float((counts > 0).sum()),
            "words": float(counts.sum()),
            **_interval("effect", changes[intervention], counts, settings, seed),
            **_interval("control_effect", changes[control], counts, settings, seed),
            # paired by utterance: what makes one easy or hard to change is the same for both, and cancels
            **_interval("difference", changes[intervention] - changes[control], counts, settings, seed),
            "wer_clean": word_error_rate(rows, "clean"),
            "wer": word_error_rate(rows, intervention),
            "control_wer": word_error_rate(rows, control),
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
    target = _by_condition(rows, "target")
    every = target + _by_condition(rows, "other")
    lost = (target["clean"] - target["noisy"]).to_numpy()
    lost_all = float((every["clean"] - every["noisy"]).sum())
    ones, seed = np.ones(len(target)), derive_seed(settings.seed, "patching")
    nothing = dict.fromkeys(("recovered", "recovered_low", "recovered_high"), 0.0)
    table = []
    for condition in dict.fromkeys(rows["condition"]):
        gain = (target[condition] - target["noisy"]).to_numpy()
        gain_all = float((every[condition] - every["noisy"]).sum())
        # the ratio of sums, not the mean of ratios: an utterance that loses next to nothing would decide the mean
        table.append(
            {
                "part": condition,
                **(_interval("recovered", gain, lost, settings, seed) if lost.sum() > 0 else nothing),
                "recovered_all": gain_all / lost_all if lost_all > 0 else 0.0,
                **_interval("logprob", target[condition].to_numpy(), ones, settings, seed),
                "wer": word_error_rate(rows, condition),
            }
        )
    return pd.DataFrame(table)


def features_beat_controls(rows: pd.DataFrame, settings: CausalConfig) -> Interval:
    """How much more the chosen features' contribution restores than their controls', in nats a target word."""
    target = _by_condition(rows, "target")
    gain = (target["features"] - target["features_control"]).to_numpy()
    seed = derive_seed(settings.seed, "patching")
    return ratio_interval(gain, np.ones(len(gain)), samples=settings.samples, confidence=settings.confidence, seed=seed)


def word_error_rate(rows: pd.DataFrame, condition: str) -> float:
    """Wrong words over reference words, over all utterances of a condition."""
    chosen = rows[rows["condition"] == condition]
    return float(chosen["errors"].sum() / max(1, chosen["words"].sum()))


def _by_condition(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column by utterance (rows) and condition (columns), summed over features."""
    return rows.pivot_table(index="utterance", columns="condition", values=column, aggfunc="sum", sort=False)


def _interval(
    name: str, totals: NDArray[np.float64], counts: NDArray[np.float64], settings: CausalConfig, seed: int
) -> dict[str, float]:
    values = ratio_interval(totals, counts, samples=settings.samples, confidence=settings.confidence, seed=seed)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
