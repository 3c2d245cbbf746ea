"""Effect sizes between the sexes, with speakers as the units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

EFFECTS = (0.2, 0.5, 0.8)  # small, medium, large: Cohen (1988)
SKIPPED = {"d": 0.0, "d_low": 0.0, "d_high": 0.0, "d_p": 1.0, "d_q": 1.0}
"""Row of a feature that could not be tested."""


def cohen_d(first: NDArray[np.float64], second: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Cohen's d: difference of the means over the pooled standard deviation (n - 1); 0 where nothing varies."""
    n, m = first.shape[axis], second.shape[axis]
    pooled = ((n - 1) * first.var(axis=axis, ddof=1) + (m - 1) * second.var(axis=axis, ddof=1)) / (n + m - 2)
    scale = np.maximum(np.abs(first).max(axis=axis), np.abs(second).max(axis=axis))
    difference = np.asarray(first.mean(axis=axis) - second.mean(axis=axis))
    varies = pooled > np.square(1e-6 * scale)
    return np.divide(difference, np.sqrt(pooled), out=np.zeros_like(difference), where=varies)


def skip_reason(sex: Sequence[str]) -> str:
    """Reason why the sexes cannot be compared over these speakers; empty if they can."""
    counts = {name: sum(other == name for other in sex) for name in ("F", "M")}
    if not all(counts.values()):
        return f"the corpus has {counts['F']} female and {counts['M']} male speakers: one sex cannot be compared"
    if min(counts.values()) < 2:
        return f"{counts['F']} female and {counts['M']} male speakers: each sex needs two for a standard deviation"
    return ""


def sex_effects(
    means: NDArray[np.float64], sex: Sequence[str], *, samples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Cohen's d (F minus M) of every feature over speakers.

    Interval: percentile bootstrap, speakers resampled within each sex. p: Welch's t-test. q: Benjamini-Hochberg over
    the features that any speaker activates; the others get d = 0 and p = q = 1.

    Args:
        means: mean activation of each speaker, [speakers, features].
        sex: F, M or empty, one a speaker; at least two of each (`skip_reason`).
    """
    from scipy.stats import bootstrap, false_discovery_control, ttest_ind

    labels = np.array(sex)
    alive = np.flatnonzero(np.ptp(means[(labels == "F") | (labels == "M")], axis=0) > 0)
    table = pd.DataFrame(SKIPPED, index=np.arange(means.shape[1]))
    if not len(alive):
        return table
    female, male = (means[labels == name][:, alive].T for name in ("F", "M"))
    interval = bootstrap(
        (female, male),
        cohen_d,
        axis=-1,
        n_resamples=samples,
        confidence_level=confidence,
        method="percentile",
        batch=50,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    p = np.nan_to_num(ttest_ind(female, male, axis=-1, equal_var=False).pvalue, nan=1.0)
    table.loc[alive, "d"] = cohen_d(female, male)
    table.loc[alive, "d_low"], table.loc[alive, "d_high"] = interval.low, interval.high
    table.loc[alive, "d_p"], table.loc[alive, "d_q"] = p, false_discovery_control(p, method="bh")
    return table


def power_table(sex: Sequence[str], *, alpha: float, power: float) -> pd.DataFrame:
    """Speakers that a two-sided t-test needs to detect d of 0.2, 0.5 and 0.8, and the available ones of the rarer sex.

    Columns: d, speakers_per_sex, speakers (both sexes), there (speakers of the rarer sex), enough.
    """
    from statsmodels.stats.power import TTestIndPower

    there = min(sum(other == name for other in sex) for name in ("F", "M"))
    needed = [
        int(np.ceil(TTestIndPower().solve_power(effect_size=d, alpha=alpha, power=power, ratio=1.0))) for d in EFFECTS
    ]
    return pd.DataFrame(
        {
            "d": EFFECTS,
            "speakers_per_sex": needed,
            "speakers": [2 * count for count in needed],
            "there": there,
            "enough": [there >= count for count in needed],
        }
    )


def detectable_effect(sex: Sequence[str], *, alpha: float, power: float) -> float:
    """Smallest d that these speakers can show with this power; 0 without two speakers of each sex."""
    from statsmodels.stats.power import TTestIndPower

    female, male = (sum(other == name for other in sex) for name in ("F", "M"))
    if min(female, male) < 2:
        return 0.0
    return float(TTestIndPower().solve_power(nobs1=female, alpha=alpha, power=power, ratio=male / female))
