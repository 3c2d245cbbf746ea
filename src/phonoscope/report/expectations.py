"""What the published study expected, against what was found.

The expectations are those of the linear probing study of EnCodec and SpeechTokenizer (Denn and Aralikatti, 2026), its
section "Expected Results", and the two that the distilled and undistilled twins put to the test. A verdict is
`confirmed`, `refuted` or `mixed`. Let v(l) be layer l's score of L layers, and "apart" mean that two 95 % intervals do
not overlap.

- Gradual rise, then plateau (phone macro-F1). Rise: a layer of 2 … L/2 lies above layer 1, apart. Plateau: the mean of
  the layers beyond L/2 is at least 90 % of the best. Confirmed: both. Mixed: a rise alone. Refuted: no rise.
- Sharp rise at layer 1 (phone macro-F1). Confirmed: layer 1 is the best, at least twice the second best, apart from
  it. Mixed: the best, yet under twice or not apart. Refuted: not the best.
- Weak early, stronger in middle or deep layers (speaker macro-F1). Early: the first quarter of the layers, rounded up.
  Confirmed: the best layer is not early and apart from every early one. Mixed: not early, not apart. Refuted: early.
- Low R2 in all layers (pitch). Low: under 0.1, the bound that the study reports. Confirmed: all intervals lie below.
  Refuted: some interval lies above. Mixed: otherwise.
- Distillation makes phones more decodable at RVQ-1: macro-F1 over 1.1 times the undistilled twin's. Confirmed: the
  paired interval of the ratio lies above 1.1. Refuted: below. Mixed: it holds 1.1.
- Distillation leaves speakers as they are at RVQ-1: macro-F1 under 1.1 times the twin's. Confirmed: the interval lies
  below 1.1. Refuted: above. Mixed: it holds 1.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from phonoscope.report.comparison import HEADLINE, NAMES, Score, best, fixed, scores, with_interval
from phonoscope.report.twins import MARGIN

COLUMNS = ("claim", "codec", "expected", "found", "verdict")
PLATEAU, SHARP, LOW_R2 = 0.9, 2.0, 0.1


class Finding(NamedTuple):
    """What was found, in words with numbers, and the verdict."""

    found: str
    verdict: str


class _Claim(NamedTuple):
    claim: str
    task: str
    codec: str
    expected: str
    rule: Callable[[list[Score]], Finding]


def expectations(table: pd.DataFrame, twins: pd.DataFrame) -> pd.DataFrame:
    """One row a claim and codec, with the columns `COLUMNS`. Claims about codecs or tasks that are absent are left out.

    `table` is `comparison.combine`'s, `twins` `twins.twin_table`'s.
    """
    rows = []
    for claim in CLAIMS:
        found = scores(table, claim.codec, claim.task, HEADLINE[claim.task])
        if found:
            rows.append((claim.claim, claim.codec, claim.expected, *claim.rule(found)))
    first = twins[(twins["layer"] == 1) & (twins["metric"] == "macro_f1") & twins["ratio"].notna()]
    for row in first.to_dict("records"):
        if row["task"] in TWIN_CLAIMS:
            claimed, expected, above = TWIN_CLAIMS[row["task"]]
            low, high = row["ratio_low"], row["ratio_high"]
            finding = Finding(
                f"ratio {with_interval(row['ratio'], low, high, digits=2)}", _side(low, high, above=above)
            )
            rows.append((claimed, row["codec"], expected, *finding))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def gradual_then_plateau(found: list[Score]) -> Finding:
    """Rule "gradual rise, then plateau" of the module's docstring."""
    half = max(len(found) // 2, 1)
    first, top = found[0], best(found, "macro_f1")
    rises = any(score.low > first.high for score in found[1:half])
    deep = float(np.mean([score.value for score in found[half:] or found]))
    text = f"layer 1 {_text(first)}, best layer {top.layer} {_text(top)}, mean beyond layer {half} {fixed(deep)}"
    return Finding(text, ("confirmed" if deep >= PLATEAU * top.value else "mixed") if rises else "refuted")


def sharp_at_first(found: list[Score]) -> Finding:
    """Rule "sharp rise at layer 1"."""
    first, *others = found
    if not others:
        return Finding(f"layer 1 {_text(first)}, the only layer", "mixed")
    second = best(others, "macro_f1")
    text = f"layer 1 {_text(first)}, best other layer {second.layer} {_text(second)}"
    if first.value <= second.value:
        return Finding(text, "refuted")
    sharp = first.value >= SHARP * second.value and first.low > second.high
    return Finding(text, "confirmed" if sharp else "mixed")


def weak_early(found: list[Score]) -> Finding:
    """Rule "weak early, stronger in middle or deep layers"."""
    quarter = math.ceil(len(found) / 4)
    top, early = best(found, "macro_f1"), best(found[:quarter], "macro_f1")
    text = (
        f"best layer {top.layer} {_text(top)}, best of layers 1–{quarter} {_text(early)}, last layer {_text(found[-1])}"
    )
    if top.layer <= found[quarter - 1].layer:
        return Finding(text, "refuted")
    return Finding(text, "confirmed" if all(top.low > score.high for score in found[:quarter]) else "mixed")


def low_everywhere(found: list[Score]) -> Finding:
    """Rule "low R2 in all layers"."""
    top = best(found, "r2")
    low, high = max(score.low for score in found), max(score.high for score in found)
    return Finding(f"best layer {top.layer} {_text(top)}", _side(low, high, above=False, bound=LOW_R2))


def _side(low: float, high: float, *, above: bool, bound: float = MARGIN) -> str:
    if low > bound:
        return "confirmed" if above else "refuted"
    if high < bound:
        return "refuted" if above else "confirmed"
    return "mixed"


def _text(score: Score) -> str:
    return with_interval(score.value, score.low, score.high)


_PHONE, _SPEAKER, _PITCH = (f"{task}, {NAMES[HEADLINE[task]]}" for task in HEADLINE)
_DEEP, _LOW = "weak early, stronger in middle or deep layers", "low in all layers (under 0.1)"
CLAIMS = (
    _Claim(_PHONE, "phone", "encodec", "gradual rise in early layers, then a plateau", gradual_then_plateau),
    _Claim(_PHONE, "phone", "speechtokenizer", "sharp rise at layer 1", sharp_at_first),
    _Claim(_SPEAKER, "speaker", "encodec", _DEEP, weak_early),
    _Claim(_SPEAKER, "speaker", "speechtokenizer", _DEEP, weak_early),
    _Claim(_PITCH, "pitch", "encodec", _LOW, low_everywhere),
    _Claim(_PITCH, "pitch", "speechtokenizer", _LOW, low_everywhere),
)
TWIN_CLAIMS = {
    "phone": ("distillation and phones at RVQ-1", "over 1.1 times the undistilled twin's macro-F1", True),
    "speaker": ("distillation and speakers at RVQ-1", "under 1.1 times the undistilled twin's macro-F1", False),
}
