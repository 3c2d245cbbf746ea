"""Measures of a study whose outcome is planted: a collapse under the faulty update, or none."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from phonoscope.studies.collapse.variants import arm_variants, main_variants

SOUND = {"perplexity_batch": 100.0, "perplexity_printed": 104.0, "perplexity_dataset": 120.0, "perplexity_ema": 330.0}
SOUND |= {"active_codes": 250, "active_codes_ema": 320, "code_norm": 0.9, "code_norm_max": 1.0, "clips_on_top_2": 0.0}
COLLAPSED = {"perplexity_batch": 1.5, "perplexity_printed": 1.6, "perplexity_dataset": 1.5, "perplexity_ema": 100.0}
COLLAPSED |= {"active_codes": 2, "active_codes_ema": 130, "code_norm": 200.0, "code_norm_max": 560.0}
COLLAPSED |= {"clips_on_top_2": 1.0}
BOTH = {"code_norm_used": 1.0, "ema_total": 560.0, "distance": 0.8, "restart_share": 0.01}


def row(place: dict[str, Any], *, collapsed: bool, quantized: bool) -> dict[str, Any]:
    numbers = place | {"accuracy": 0.2 if collapsed else 0.98, "majority": 0.19, "drift": 0.002, "loss": 1.0}
    codes = {"top_code": place["epoch"]} | BOTH | (COLLAPSED if collapsed else SOUND)
    return numbers | codes if quantized else numbers


def table(*, collapsed: bool, quantized: bool) -> pd.DataFrame:
    places = [
        {"seed": seed, "mode": mode, "split": split, "epoch": epoch, "step": 16 * epoch, "batch": batch}
        for seed in (1, 2, 3)
        for epoch in range(1, 7)
        for mode, split in (("fit", "train"), ("eval", "train"), ("eval", "eval"), ("train", "eval"))
        for batch in ((0, 1, 2) if epoch == 6 and mode == "eval" else (0,))
    ]
    return pd.DataFrame([row(place, collapsed=collapsed, quantized=quantized) for place in places])


class Study(NamedTuple):
    """By variant: the table of stage `vq`, and the checks, a row a seed."""

    tables: dict[str, pd.DataFrame]
    checks: dict[str, pd.DataFrame]


def study(*, collapse: bool = True, arms: tuple[str, ...] = ("no_augmentation",)) -> Study:
    variants = main_variants() + arm_variants(arms)
    faulty = {variant.name: collapse and variant.update == "ema_unscaled" for variant in variants}
    tables = {each.name: table(collapsed=faulty[each.name], quantized=each.update is not None) for each in variants}
    checks = dict.fromkeys(("state_changed_in_eval", "evaluated_with_graph", "graph_matters"), 0.0)
    return Study(tables, {variant.name: pd.DataFrame([checks] * 3, index=[1, 2, 3]) for variant in variants})
