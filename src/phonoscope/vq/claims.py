"""What must hold of the right and of the faulty update: judged by the variants' medians, and by every evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from phonoscope.studies.collapse.variants import UNSCALED, main_variants
from phonoscope.vq.answers import COLLAPSED
from phonoscope.vq.headline import evaluations

NEAR = 0.03
"""Largest loss of accuracy against the baseline that a quantizer may cost."""
SAME = 0.15
"""Largest relative difference between the perplexities of train and eval."""
MANY = 100
"""Active codes that a codebook in use has more of."""
HISTORY = (50, 160)
"""The EMA's perplexities that the document saw and took for healthy."""
MAJORITY_MARGIN = 0.15
"""An accuracy within this of the majority class's share is near it."""


@dataclass(frozen=True)
class Claim:
    """Something said of every variant with a quantizer under one update, arms left out."""

    said: str
    faulty: bool
    measure: Callable[[pd.DataFrame], pd.Series[float]]
    """From headline metrics, one row a case, to what is compared."""
    low: float
    high: float
    form: str


@dataclass(frozen=True)
class Judged:
    """`holds` by the variants' medians over epochs and seeds, which range over `seen`."""

    holds: bool
    seen: str
    single: float
    """Share of the single evaluations, in the last half of the epochs of every run, of which it holds too."""


def claims(baseline: float) -> list[Claim]:
    """All of them; `baseline` is the accuracy without a quantizer."""
    return [
        Claim(
            f"right update: perplexity of eval within {SAME:.0%} of train's",
            False,
            lambda own: own["perplexity_eval"] / own["perplexity_train"] - 1,
            -SAME,
            SAME,
            "{:+.1%}",
        ),
        Claim(
            f"right update: over {MANY} active codes in eval",
            False,
            lambda own: own["active_codes_eval"],
            MANY + 1,
            float("inf"),
            "{:.0f}",
        ),
        Claim(
            f"right update: accuracy at most {100 * NEAR:.0f} points below the baseline's {baseline:.3f}",
            False,
            lambda own: own["accuracy"],
            baseline - NEAR,
            1.0,
            "{:.3f}",
        ),
        Claim(
            f"faulty update: at most {COLLAPSED} active codes in eval",
            True,
            lambda own: own["active_codes_eval"],
            0,
            COLLAPSED,
            "{:.0f}",
        ),
        Claim(
            f"faulty update: accuracy at most {100 * MAJORITY_MARGIN:.0f} points above the majority class's share",
            True,
            lambda own: own["accuracy"] - own["majority"],
            -1.0,
            MAJORITY_MARGIN,
            "{:+.3f}",
        ),
        Claim(
            f"faulty update: the EMA's perplexity reads {HISTORY[0]} to {HISTORY[1]}",
            True,
            lambda own: own["perplexity_ema"],
            *HISTORY,
            "{:.0f}",
        ),
    ]


def judge(tables: Mapping[str, pd.DataFrame]) -> dict[str, Judged]:
    """Every claim, on the measures of all variants' runs."""
    single = {variant.name: evaluations(tables[variant.name]) for variant in main_variants()}
    # of each seed its median over epochs, of these the median over seeds
    medians = {name: own.groupby("seed").median().median().to_frame().T for name, own in single.items()}
    found = {}
    for claim in claims(medians["baseline"]["accuracy"].item()):
        about = [v.name for v in main_variants() if v.quantized and v.name.endswith(UNSCALED) == claim.faulty]
        values = pd.Series({name: claim.measure(medians[name]).item() for name in about})
        every = pd.concat([claim.measure(single[name]) for name in about])
        ends = values.sort_values(kind="stable").iloc[[0, -1]]
        found[claim.said] = Judged(
            holds=bool(values.between(claim.low, claim.high).all()),
            seen=" to ".join(f"{claim.form.format(value)} ({name})" for name, value in ends.items()),
            single=float(every.between(claim.low, claim.high).mean()),
        )
    return found
