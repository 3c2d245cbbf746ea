from __future__ import annotations

import pandas as pd
import pytest
from phonoscope.vq.headline import Spread, headline, headline_table, last, perplexity_curves, settled, whole_rows

from phonoscope.report.summary import vq_headline

TABLE = pd.DataFrame(
    [
        {"seed": seed, "mode": mode, "split": split, "epoch": epoch, "batch": batch, "majority": 0.1, "drift": 0.0}
        | {"accuracy": 0.1 * epoch + 0.01 * seed + (1.0 if mode == "train" else 0.0) + batch}
        for seed in (1, 2, 3)
        for mode in ("fit", "eval", "train")
        for split in ("train", "eval")
        for epoch in range(1, 7)
        for batch in (0, 1)
    ]
)


def test_a_run_stands_for_the_median_of_its_last_half() -> None:
    assert settled(TABLE, "eval", "eval", "accuracy").tolist() == pytest.approx([0.51, 0.52, 0.53])
    assert last(TABLE, "eval", "eval", "accuracy").tolist() == pytest.approx([0.61, 0.62, 0.63])
    assert len(whole_rows(TABLE, "train", "eval")) == 18


def test_a_headline_is_the_median_over_seeds_with_their_range() -> None:
    found = headline(TABLE)
    assert set(found) == {"accuracy", "accuracy_train", "majority", "drift_train", "drift_eval", "drift_fit"}
    spread = found["accuracy"]
    assert (spread.median, spread.low, spread.high, spread.seeds) == pytest.approx((0.52, 0.51, 0.53, 3))
    assert found["accuracy"].text() == "0.52 [0.51, 0.53]"
    assert Spread.of(pd.Series([2.0])).text(1) == "2.0"


def test_the_summary_takes_four_numbers_a_variant() -> None:
    table = headline_table({"baseline": headline(TABLE)})
    assert list(table) == ["variant", "metric", "value", "low", "high", "seeds"]
    assert vq_headline(table) == {"baseline": {"accuracy": pytest.approx(0.52)}}


def test_curves_are_medians_over_seeds_by_epoch() -> None:
    named = ("perplexity_ema", "perplexity_batch", "perplexity_dataset")
    table = TABLE.assign(**dict.fromkeys(named, TABLE["accuracy"]))
    curves = perplexity_curves({"vq": table, "vq_unscaled": table})
    assert len(curves) == 2 * 5 * 6
    own = curves[(curves["variant"] == "vq") & (curves["perplexity"] == "dataset, eval")]
    assert own["value"].tolist() == pytest.approx([0.12, 0.22, 0.32, 0.42, 0.52, 0.62])
    assert (own["high"] - own["low"]).tolist() == pytest.approx([0.02] * 6)
