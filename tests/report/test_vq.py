from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phonoscope.report import vq
from phonoscope.report.summary import vq_headline
from phonoscope.studies.collapse.variants import main_variants

from .planted_collapse import Study, study

TITLES = {"vq_unscaled": "faulty", "vq": "right"}
MAIN = [variant.name for variant in main_variants()]
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
    checks = {"baseline": pd.DataFrame({"state": [0.0, 2.0, 4.0]}, index=[1, 2, 3])}
    numbers = vq.headline({"baseline": TABLE}, checks)
    assert list(numbers) == ["variant", "metric", "value", "low", "high", "seeds"]
    rows = numbers.set_index("metric")[["value", "low", "high", "seeds"]]
    assert rows.loc["accuracy"].tolist() == pytest.approx([0.52, 0.51, 0.53, 3])
    assert rows.loc["accuracy_trained"].tolist() == pytest.approx([0.62, 0.61, 0.63, 3])
    assert rows.loc["accuracy_updated"].tolist() == pytest.approx([1.62, 1.61, 1.63, 3])
    assert rows.loc["check_state"].tolist() == [2, 0, 4, 3]
    assert vq_headline(numbers) == {"baseline": {"accuracy": pytest.approx(0.52)}}
    assert vq.evaluations(TABLE).index.get_level_values("epoch").unique().tolist() == [4, 5, 6]


def judged(planted: Study) -> pd.DataFrame:
    return vq.verdicts(planted.tables, vq.headline(*planted), MAIN)


def test_a_planted_collapse_supports_every_claim_and_refutes_every_hypothesis() -> None:
    rows = judged(study())
    claims = rows[rows["claim"].str.contains(" update: ")]
    assert len(claims) == 7 * 4
    assert set(claims["verdict"]) == {"supported"}
    assert set(claims["evaluations"]) == {1.0}
    hypotheses = rows[rows["claim"].str.startswith("H")]
    assert hypotheses["claim"].str[:2].tolist() == ["H1", "H2", "H3", "H4", "H4"]
    assert set(hypotheses["verdict"]) == {"refuted"}
    questions = rows[rows["claim"].str.startswith("Q")]
    assert questions["verdict"].tolist() == ["refuted", "supported", "supported", "refuted", "refuted", "refuted"]


def test_without_a_collapse_the_faulty_update_looks_like_the_right_one() -> None:
    rows = judged(study(collapse=False))
    claims = rows[rows["claim"].str.contains(" update: ")].groupby("claim", sort=False)["verdict"].agg(set)
    assert list(claims) == [{"supported"}] * 3 + [{"refuted"}] * 2 + [{"supported"}, {"refuted"}]
    refuted = rows[rows["claim"].str.startswith("H") & (rows["verdict"] == "refuted")]
    assert refuted["claim"].str[:2].tolist() == ["H4"]  # eval() changes nothing
    assert not judged(study(arms=()))["claim"].str.startswith("H2").any()


def test_each_variant_is_judged_on_its_own() -> None:
    planted = study()
    tables = planted.tables
    tables["vq_hdp"].loc[tables["vq_hdp"]["split"] == "eval", "perplexity_dataset"] = 90.0
    tables["vq_hsmm"]["active_codes"] = 100
    tables["vq_unscaled"]["active_codes"] = 6
    tables["vq_no_augmentation"]["active_codes"] = 1  # an arm
    tables["vq_hdp_unscaled"].loc[tables["vq_hdp_unscaled"]["epoch"] <= 3, "active_codes"] = 9  # the first half
    rows = judged(planted)
    rows = rows[rows["claim"].str.contains(" update: ") & (rows["verdict"] != "supported")]
    assert rows["variant"].tolist() == ["vq_hdp", "vq_hsmm", "vq_unscaled"]
    assert rows["verdict"].tolist() == ["refuted"] * 3
    assert rows["value"].tolist() == pytest.approx([0.25, 100, 6])
    assert rows["evaluations"].tolist() == [0.0] * 3


def test_seeds_that_differ_leave_a_claim_undecided_and_single_epochs_are_counted() -> None:
    planted = study()
    table = planted.tables["vq_unscaled"]
    claim = "claim.str.startswith('faulty update: at most 5') and variant == 'vq_unscaled'"
    table.loc[table["epoch"] == 5, "active_codes"] = 12
    row = judged(planted).query(claim)
    assert row[["verdict", "evaluations"]].to_numpy().tolist() == [["supported", pytest.approx(2 / 3)]]
    table.loc[table["seed"] == 1, "active_codes"] = 12
    row = judged(planted).query(claim)
    assert row[["verdict", "value", "high"]].to_numpy().tolist() == [["undecided", 2, 12]]


def test_the_documents_epochs_and_the_batches_are_in_a_table() -> None:
    rows = vq.training(study().tables)
    epochs = rows.dropna(subset="document_epoch")
    assert len(epochs) == 2 * 3 * 3
    first = epochs.query("variant == 'vq_hdp_unscaled' and document_epoch == 40").set_index("metric")["value"]
    assert first.to_dict() == {"active_codes_ema": 130, "perplexity_ema": 100, "perplexity_batch_fit": 1.5}
    assert epochs["epoch"].unique().tolist() == [2, 4, 6]
    assert rows.query("variant == 'vq_unscaled'")["batch"].tolist() == [1, 2]


def test_curves_are_medians_over_seeds_by_epoch() -> None:
    named = ("perplexity_ema", "perplexity_batch", "perplexity_dataset")
    table = TABLE.assign(**dict.fromkeys(named, TABLE["accuracy"]))
    curves = vq.perplexity_curves({"vq": table, "vq_unscaled": table})
    assert len(curves) == 2 * 5 * 6
    rows = curves[(curves["variant"] == "vq") & (curves["perplexity"] == "dataset, eval")]
    assert rows["value"].tolist() == pytest.approx([0.12, 0.22, 0.32, 0.42, 0.52, 0.62])
    assert (rows["high"] - rows["low"]).tolist() == pytest.approx([0.02] * 6)


def test_the_three_perplexities_are_drawn_for_both_updates() -> None:
    tables = study().tables
    figure = vq.draw_perplexities(vq.perplexity_curves({name: tables[name] for name in TITLES}), TITLES)
    faulty, right = figure.axes
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in faulty.get_lines()}
    assert drawn["EMA history"].tolist() == [100.0] * 6
    assert drawn["batch, training"].tolist() == drawn["dataset, eval"].tolist() == [1.5] * 6
    assert {line.get_label(): np.asarray(line.get_ydata())[0] for line in right.get_lines()}["EMA history"] == 330
    assert (faulty.get_title(), faulty.get_xlabel(), faulty.get_ylabel()) == ("faulty", "epoch", "perplexity (codes)")
    assert len(figure.legends[0].get_texts()) == 5


def test_norms_are_drawn_against_the_vectors_and_the_emas_count() -> None:
    faulty, _ = vq.draw_norms(study().tables, TITLES).axes
    drawn = {line.get_label(): np.asarray(line.get_ydata())[0] for line in faulty.get_lines()}
    assert drawn["largest norm"] == drawn["n, the EMA's total count"] == 560
    assert drawn["norm of the vectors"] == 1


def test_features_of_both_splits_are_drawn_and_codes_out_of_view_are_counted() -> None:
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(50, 6)), rng.normal(size=(40, 6))
    book = np.concatenate([train[:3], 1000 * train[3:10]])
    vectors = dict.fromkeys(("vq", "baseline"), (train, held_out))
    figure = vq.draw_features(vectors, {"vq": book}, {"vq": "VQ", "baseline": "none"})
    quantized, plain = figure.axes
    assert [len(np.asarray(points.get_offsets())) for points in quantized.collections] == [50, 40, 10]
    assert len(plain.collections) == 2
    assert quantized.get_title() == "VQ\n3 of 10 codes in view"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "eval", "codes"]
    low, high = quantized.get_xlim()
    assert high - low == pytest.approx(plain.get_xlim()[1] - plain.get_xlim()[0])
