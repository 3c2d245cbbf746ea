"""Verdicts: trials of chosen features and their controls, and of patched parts, as tidy tables with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope.config.causal import CausalConfig
from phonoscope.stats import Interval, jackknife, ratio_interval

LEAST = 5  # utterances for an interval
SIDES = {"ablate": "target", "steer": "other"}
"""Words whose log-probability should fall: without its detector, those with the phone; with steering, those without."""
Comparison = dict[str, Any]


def feature_verdicts(rows: pd.DataFrame, settings: CausalConfig) -> dict[str, Comparison]:
    """Comparison with the controls, and word error rates, of `ablate` and `steer`, from the rows of trials.

    All effects are changes of log-probability against the clean run, in nats a word. An intervention is missing if
    fewer than `LEAST` utterances have a word on its side. Utterances of several features count together.
    """
    verdicts = {}
    for intervention, side in SIDES.items():
        counts = _by_condition(rows, f"{side}s")["clean", 0].to_numpy(dtype=np.float64)
        if (counts > 0).sum() < LEAST:
            continue
        summed = _by_condition(rows, side)
        changes = pd.DataFrame(summed[intervention]).sub(summed["clean", 0], axis=0)
        verdicts[intervention] = {
            **_compare(changes, counts, _speakers(rows, changes.index), settings, sign=-1),
            "wer_clean": word_error_rate(rows, "clean"),
            "wer": word_error_rate(rows, intervention),
        }
    return verdicts


def patched_features_verdict(rows: pd.DataFrame, settings: CausalConfig) -> Comparison:
    """Comparison of what the chosen features' contribution restores with their controls', in nats a target word."""
    target = _by_condition(rows, "target")
    gains = pd.DataFrame(target["features"]).sub(target["noisy", 0], axis=0)
    return _compare(gains, np.ones(len(gains)), _speakers(rows, gains.index), settings, sign=1)


def judge(comparisons: Sequence[Comparison], alpha: float) -> None:
    """Add `q` and `verdict` to all comparisons of a site, which are one family of tests.

    `q` is the false discovery rate of Benjamini and Hochberg. The verdict is `causal` where the controls are beaten and
    q is below `alpha`, otherwise `undecided`: no effect is not shown by this.
    """
    from scipy.stats import false_discovery_control

    rates = false_discovery_control([one["p"] for one in comparisons])
    for one, rate in zip(comparisons, rates, strict=True):
        one["q"] = float(rate)
        one["verdict"] = "causal" if one["beats_controls"] and rate < alpha else "undecided"


def patching_table(rows: pd.DataFrame, settings: CausalConfig) -> pd.DataFrame:
    """Share of the loss by noise that each part restores: a row a part.

    Columns: part (its name ends with the layer), recovered (of the target word's log-probability; 0 noisy, 1 clean)
    with its interval, recovered_all (of all words), logprob (of the target word) and wer; the parts `clean` and `noisy`
    come first. `features_control` is the mean of the controls of `features`, which are not transcribed.
    """
    target, other = (_part_means(rows, side) for side in ("target", "other"))
    every = target + other
    lost = (target["clean"] - target["noisy"]).to_numpy()
    lost_all = float((every["clean"] - every["noisy"]).sum())
    ones = np.ones(len(target))
    table = []
    for part in target.columns:
        gain = (target[part] - target["noisy"]).to_numpy()
        gain_all = float((every[part] - every["noisy"]).sum())
        logprob = ratio_interval(target[part].to_numpy(), ones, confidence=settings.confidence)
        table.append(
            {
                "part": part,
                **_named("recovered", _restored(gain, lost, settings.confidence)),
                "recovered_all": gain_all / lost_all if lost_all > 0 else 0.0,
                **_named("logprob", logprob),
                "wer": None if part == "features_control" else word_error_rate(rows, part),
            }
        )
    return pd.DataFrame(table)


def word_error_rate(rows: pd.DataFrame, condition: str) -> float:
    """Wrong words over reference words, over all utterances of a condition."""
    chosen = rows[(rows["condition"] == condition) & (rows["draw"] == 0)]
    return float(chosen["errors"].sum() / max(1, chosen["words"].sum()))


def _compare(
    changes: pd.DataFrame, counts: NDArray[np.float64], speakers: pd.Series, settings: CausalConfig, *, sign: int
) -> Comparison:
    """Effect in nats a word, the controls' effects, and the difference from the mean control with its intervals.

    changes: summed nats by utterance (rows) and draw (columns; 0 is the intervention, the rest are its controls).
    counts: words by utterance. sign: of the effect that is claimed. `p` is one-sided.
    """
    effect, controls = changes[0].to_numpy(), changes.drop(columns=0)
    # paired by utterance: what makes one easy or hard to change is the same for both, and cancels
    difference = effect - controls.mean(axis=1).to_numpy()
    own = ratio_interval(effect, counts, confidence=settings.confidence)
    apart = ratio_interval(difference, counts, confidence=settings.confidence)
    draws = controls.to_numpy().sum(axis=0) / counts.sum()
    by_speaker = pd.DataFrame({"total": difference, "words": counts}).groupby(speakers.to_numpy()).sum()
    beyond = sign * own.value > max(0.0, *(sign * draws))
    return {
        "words": float(counts.sum()),
        "utterances": float((counts > 0).sum()),
        "speakers": float((by_speaker["words"] > 0).sum()),
        **_named("effect", own),
        "control_effect": float(draws.mean()),
        "control_lowest": float(draws.min()),
        "control_highest": float(draws.max()),
        **_named("difference", apart),
        **_speaker_bounds(by_speaker, settings.confidence),
        "p": _p_value(difference[counts > 0], sign),
        "beats_controls": bool(beyond and min(sign * apart.low, sign * apart.high) > 0),
    }


def _p_value(differences: NDArray[np.float64], sign: int) -> float:
    """One-sided p of a t test that summed differences by utterance have the sign in the mean.

    It tests a ratio of sums as well: at the null, where the ratio is 0, the words that it is divided by cancel.
    """
    from scipy.stats import ttest_1samp

    if np.ptp(differences) == 0:  # such as a feature that is silent everywhere
        return 0.0 if sign * differences[0] > 0 else 1.0
    return float(ttest_1samp(sign * differences, 0.0, alternative="greater").pvalue)


def _speaker_bounds(by_speaker: pd.DataFrame, confidence: float) -> dict[str, float | None]:
    """Bounds of the difference by the jackknife over speakers; None for fewer than two."""
    if (by_speaker["words"] > 0).sum() < 2:
        return {"difference_speaker_low": None, "difference_speaker_high": None}
    bounds = ratio_interval(by_speaker["total"].to_numpy(), by_speaker["words"].to_numpy(), confidence=confidence)
    return {"difference_speaker_low": bounds.low, "difference_speaker_high": bounds.high}


def _restored(gain: NDArray[np.float64], lost: NDArray[np.float64], confidence: float) -> Interval:
    """Gain over loss by the jackknife over utterances; 0 where nothing is lost."""
    if lost.sum() <= 0:
        return Interval(0.0, 0.0, 0.0)
    # the ratio of sums, not the mean of ratios: an utterance that loses next to nothing would decide the mean
    value = float(gain.sum() / lost.sum())
    return jackknife(value, (gain.sum() - gain) / (lost.sum() - lost), confidence)


def _by_condition(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column by utterance (rows), condition and draw (columns), summed over features."""
    return rows.pivot_table(index="utterance", columns=["condition", "draw"], values=column, aggfunc="sum", sort=False)


def _part_means(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column by utterance (rows) and part (columns), controls as the mean of their draws."""
    parts = rows["condition"].where(rows["draw"] == 0, rows["condition"] + "_control")
    return rows.assign(part=parts).pivot_table(
        index="utterance", columns="part", values=column, aggfunc="mean", sort=False
    )


def _speakers(rows: pd.DataFrame, utterances: pd.Index) -> pd.Series:
    return rows.drop_duplicates("utterance").set_index("utterance")["speaker"].loc[utterances]


def _named(name: str, interval: Interval) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))
