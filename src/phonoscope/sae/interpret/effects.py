"""Effect sizes between the sexes, with speakers as the units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
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
    # equal values have a variance of rounding errors, not of 0; a resample of one speaker has equal values
    varies = pooled > np.square(1e-6 * scale)
    return np.divide(difference, np.sqrt(pooled), out=np.zeros_like(difference), where=varies)


def skip_reason(sex: Sequence[str]) -> str:
    """Reason why the sexes cannot be compared over these speakers; empty if they can."""
    female, male = sex.count("F"), sex.count("M")
    speakers = f"{female} female and {male} male speakers"
    if not (female and male):
        return f"the corpus has {speakers}: one sex cannot be compared"
    return "" if min(female, male) >= 2 else f"{speakers}: each sex needs two for a standard deviation"


def sex_effects(
    means: NDArray[np.float64], sex: Sequence[str], *, samples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Cohen's d (F minus M) of every feature over speakers.

    Interval: percentile bootstrap, speakers resampled within each sex. p: Welch's t-test. q: Benjamini-Hochberg over
    the features that any speaker activates; the others get `SKIPPED`. means: mean activation of each speaker,
    [speakers, features]. sex: F, M or empty, one a speaker; at least two of each (`skip_reason`).
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
        n_resamples=samples,
        confidence_level=confidence,
        method="percentile",
        axis=-1,
        batch=50,  # of all features at once: more would not fit into memory
        rng=np.random.default_rng(seed),
    ).confidence_interval
    p = np.nan_to_num(ttest_ind(female, male, axis=-1, equal_var=False).pvalue, nan=1.0)
    q = false_discovery_control(p, method="bh")
    table.loc[alive, list(SKIPPED)] = np.stack([cohen_d(female, male), interval.low, interval.high, p, q], axis=1)
    return table


def power_table(sex: Sequence[str], *, alpha: float, power: float) -> pd.DataFrame:
    """Speakers that a two-sided t-test needs to find an effect with this power.

    Columns: d, speakers_per_sex, speakers (both sexes), there (speakers of the rarer sex), enough.
    """
    from statsmodels.stats.power import TTestIndPower

    solve, there = TTestIndPower().solve_power, min(sex.count("F"), sex.count("M"))
    needed = np.array([int(np.ceil(solve(effect_size=d, alpha=alpha, power=power, ratio=1.0))) for d in EFFECTS])
    columns = {"speakers_per_sex": needed, "speakers": 2 * needed, "there": there, "enough": there >= needed}
    return pd.DataFrame({"d": EFFECTS, **columns})


def detectable_effect(sex: Sequence[str], *, alpha: float, power: float) -> float:
    """Smallest d that these speakers can show with this power; 0 without two speakers of each sex."""
    from statsmodels.stats.power import TTestIndPower

    female, male = sex.count("F"), sex.count("M")
    if min(female, male) < 2:
        return 0.0
    return float(TTestIndPower().solve_power(nobs1=female, alpha=alpha, power=power, ratio=male / female))
