from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from phonoscope.report.encoders import draw_curves, draw_scores, markdown_tables, verdicts

SIZES = pd.DataFrame(
    [("codes", 100, 100, 100), ("mel", 7430, 200, 200), ("mel_80", 300, 90, 50)],
    columns=["encoder", "input_bytes", "parameters", "macs"],
)
BEHAVIOUR = {"gradient_tensors": 19.0, "tensors": 19.0, "peak_kept_max": 1.0, "peak_kept_mean": 0.1}
DIFFERENCES = pd.DataFrame(
    [("mel", "accuracy_word", 0.2, 0.1, 0.3), ("scrambled", "accuracy_word", 0.0, -0.1, 0.1)],
    columns=["encoder", "metric", "difference", "low", "high"],
)


def test_sizes_behaviour_and_arms_are_judged() -> None:
    rows = verdicts(SIZES, BEHAVIOUR, DIFFERENCES).set_index(["claim", "encoder"])
    assert rows.loc[("more input bytes than codes (ratio)", "mel"), "value"] == 74.3
    assert rows.loc[("more parameters than codes (ratio)", "mel_80"), "verdict"] == "refuted"
    assert rows.loc[("a gradient reaches all 19 parameter tensors", "codes"), "verdict"] == "supported"
    assert rows["verdict"].tolist()[-4:] == ["supported", "refuted", "supported", "undecided"]
    fewer = verdicts(SIZES, {**BEHAVIOUR, "gradient_tensors": 18.0}, DIFFERENCES)
    assert fewer["verdict"].tolist()[6] == "refuted"
    assert "| mel " in markdown_tables(SIZES, rows.reset_index())


def test_scores_of_every_seed_and_the_chance_level_are_drawn() -> None:
    places = product(("codes", "mel"), (0, 1), ("accuracy_word", "accuracy_speaker"))
    scores = pd.DataFrame(places, columns=["encoder", "seed", "metric"])
    scores["value"] = 0.5 + scores["seed"] / 10
    counts = scores.assign(windows=10, right=scores["value"] * 10, task=scores["metric"].str.removeprefix("accuracy_"))
    hits = pd.concat([counts.assign(utterance=name) for name in "abc"])
    figure = draw_scores(scores, hits, {"word": 0.1, "speaker": 0.2})
    dots = [np.asarray(line.get_xdata()).tolist() for line in figure.axes[0].lines]
    assert [0.5, 0.6] in dots
    assert np.asarray(figure.axes[1].lines[-1].get_xdata()).tolist() == [0.2, 0.2]
    curve = pd.DataFrame({"seed": [0, 0, 1, 1], "step": [1, 2, 1, 2], "loss_word": 1.0, "loss_speaker": 2.0})
    assert [len(axes.lines) for axes in draw_curves({"codes": curve, "mel": curve}).axes] == [4, 4]
