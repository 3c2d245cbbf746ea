from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phonoscope.config.interpret import InterpretConfig
from phonoscope.sae.interpret.run import Interpretation, clip_features, interpret, speakers_by

from .planted import DEAD, DETECTORS, FEMALE, SCOTTISH, plant

CONFIG = InterpretConfig(top_k=4, min_segments=3, trees=5, map_points=20, clip_features=3, clip_s=0.2)


@pytest.fixture(scope="module")
def interpretation() -> Interpretation:
    planted = plant()
    return interpret(planted.activations, planted.index, CONFIG)


def test_planted_features_are_read(interpretation: Interpretation) -> None:
    features: Any = interpretation.features.set_index("feature")
    for phone, feature in DETECTORS.items():
        assert features.loc[feature, "detects"] == phone
        assert features.loc[feature, ["auroc", "precision"]].tolist() == [1.0, 1.0]
    assert features["g"].abs().idxmax() == FEMALE
    assert features.loc[FEMALE, "g_q"] < 0.05
    assert features.loc[SCOTTISH, "accent"] == "sc"
    assert features.loc[DEAD, ["density", "max", "g", "accent", "clips"]].tolist() == [0, 0, 0, "", False]
    assert features.index[features["clips"]].tolist() == [0, 1, 2]
    assert interpretation.scores["phones"] == interpretation.scores["phones_with_auroc_90"] == 3
    assert interpretation.scores["dead"] == 1
    assert interpretation.scores["forest_balanced_accuracy_by_speaker"] == 1.0
    assert interpretation.scores["sparsity"] == pytest.approx((plant().activations.toarray() == 0).mean())
    assert speakers_by(plant().index, "accent") == {"rp": 4, "sc": 4}
    assert not interpretation.skipped


def test_windows_know_their_frames(interpretation: Interpretation) -> None:
    planted = plant()
    windows = interpretation.windows
    assert windows.groupby("feature").size().max() == 4
    assert DEAD not in set(windows["feature"])
    dense = planted.activations.toarray()
    assert np.array_equal(dense[windows["row"], windows["feature"]], windows["value"])
    for name in ("utterance", "frame", "phone", "speaker"):
        assert (planted.index[name].iloc[windows["row"]].to_numpy() == windows[name].to_numpy()).all()
    middle = [trace[5] for trace in windows["trace"]]
    assert middle == windows["value"].tolist()
    assert {len(trace) for trace in windows["trace"]} == {11}
    assert windows["clip_start_s"].to_numpy() == pytest.approx(windows["frame"].to_numpy() * 0.02 - 0.1)


def test_means_leave_silence_to_the_phones(interpretation: Interpretation) -> None:
    counts = interpretation.means.drop_duplicates(["kind", "group"]).groupby("kind")["frames"].sum()
    assert counts["phone"] == 8 * 5 * 25
    assert counts["sex"] == counts["accent"] == counts["speaker"] == counts["word"] == 8 * 5 * 15


def test_one_sex_and_one_accent_are_skipped_with_their_reason(caplog: pytest.LogCaptureFixture) -> None:
    planted = plant(sexes=("F",), accents=("rp",))
    with caplog.at_level(logging.WARNING):
        result = interpret(planted.activations, planted.index, CONFIG)
    assert set(result.skipped) == {"effects by sex", "forest by sex", "accent profiles"}
    assert "0 male speakers" in caplog.text
    assert "one accent (rp)" in caplog.text
    assert result.accents is None
    assert len(result.forest) == 0
    assert (result.features["g"] == 0).all()
    assert all(np.isfinite(value) for value in result.scores.values())


def test_too_few_speakers_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    planted = plant(speakers=4, utterances=3)
    with caplog.at_level(logging.WARNING):
        interpret(planted.activations, planted.index, CONFIG)
    assert "d of 0.8 needs 26 speakers of each sex at power 0.8; there are 2" in caplog.text


def test_clips_go_to_detectors_first_and_never_to_dead_features() -> None:
    columns = {"feature": [0, 1, 2, 3], "density": [0.1, 0.1, 0.0, 0.1], "auroc": [0.99, 0.8, 1.0, 0.7]}
    features = pd.DataFrame({**columns, "detects": ["", "S", "", "T"]})
    assert clip_features(features, 9).tolist() == [1, 3, 0]
    assert clip_features(features, 1).tolist() == [1]
    assert clip_features(features, 0).tolist() == []
