from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import false_discovery_control

from phonoscope import paths
from phonoscope.causal import study, trials
from phonoscope.causal.speech import TrialSpeech
from phonoscope.causal.study import choose_detectors
from phonoscope.config.causal import CausalConfig
from phonoscope.config.params import Params
from phonoscope.data import Features
from phonoscope.errors import NotApplicable
from phonoscope.files import write_parquet
from phonoscope.pipeline import causal, features
from phonoscope.pipeline.listening import utterances
from phonoscope.sae.store import save_sae
from phonoscope.whisper.transcript import word_errors

from ..sae.planted import random_model
from ..whisper.checkout import small_params, write_corpus

WIDTH = 64
SETTINGS = CausalConfig(features=2, utterances=6, words=5, max_wer=99, talkers=2)


def params(checkpoint: Path, settings: CausalConfig = SETTINGS, site: str = "encoder_2") -> Params:
    return small_params(checkpoint, (site,), compare=0).model_copy(update={"causal": settings})


def save_interpretation(site: str, detectors: dict[str, int]) -> None:
    """Tables as `interpret` writes them, as far as they are read."""
    detects = [" ".join(phone for phone, feature in detectors.items() if feature == f) for f in range(WIDTH)]
    table = {"feature": np.arange(WIDTH), "mean_active": np.full(WIDTH, 0.5), "detects": detects}
    phones = {"phone": list(detectors), "feature": list(detectors.values()), "scored": [True] * len(detectors)}
    phones |= {"auroc_train": np.linspace(0.9, 0.6, len(detectors)), "auroc": np.linspace(0.6, 0.9, len(detectors))}
    for name, columns in {"features": table, "phones": phones}.items():
        write_parquet(paths.interpretation(site) / f"{name}.parquet", pa.table(columns))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A corpus, features, a random dictionary, and an interpretation that says what its features detect."""
    with chdir(folder := tmp_path_factory.mktemp("checkout")):
        write_corpus(empty=("bob-1",))
        prepare(checkpoint, "encoder_2")
    return folder


@pytest.fixture
def checkout(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def prepare(checkpoint: Path, site: str) -> None:
    features.run(params(checkpoint, site=site))
    form = "transcoder" if site.startswith("mlp") else "autoencoder"
    paths.sae_model(site).mkdir(parents=True)
    save_sae(random_model(kind="topk", form=form, d_in=8, d_out=8, d_sae=WIDTH, k=4), paths.sae_model(site), {})
    save_interpretation(site, {"S": 3, "ZH": 9, "AA": 5, "IY": 7})


def trial_speech() -> TrialSpeech:
    return TrialSpeech(utterances(), Features.load(paths.features("encoder_2")).index)


def details(site: str = "encoder_2") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(paths.causal_json(site).read_text())
    return content


def test_each_detector_is_held_against_its_controls(checkpoint: Path, checkout: None) -> None:
    report = causal.run(params(checkpoint), "encoder_2")
    content, table = details(), pd.read_csv(paths.causal_metrics("encoder_2"))
    assert [(entry["phone"], entry["feature"]) for entry in content["features"]] == [("S", 3), ("AA", 5)]  # ZH: nowhere
    for entry in content["features"]:
        names = entry["controls"].split()
        assert len(names) == SETTINGS.controls
        assert names.count("random") >= 3
        assert not set(names) & {"3", "5", "7", "9"}
    assert list(table["intervention"]) == ["ablate", "steer"] * 2
    assert (table["utterances"] == SETTINGS.utterances).all()
    row = table.iloc[0]
    assert row["difference"] == pytest.approx(row["effect"] - row["control_effect"], abs=1e-6)
    assert content["features"][0]["effect"] == pytest.approx(row["effect"], abs=1e-6)
    assert row["control_lowest"] <= row["control_effect"] <= row["control_highest"]
    assert content["features"][0]["verdict"] == row["verdict"]
    assert (row["words"], row["utterances"], row["speakers"]) == (6, 6, 2)
    family = [*table["p"], content["patching_features_over_controls"]["p"]]
    np.testing.assert_allclose(table["q"], false_discovery_control(family)[:-1], rtol=1e-6)
    parts = ["clean", "noisy", "word.encoder_2", "elsewhere.encoder_2", "attention_2", "mlp_2"]
    parts += ["features", "features_control"]
    assert [entry["part"] for entry in content["patching"]] == parts
    assert list(pd.read_csv(paths.patching_metrics("encoder_2"))["part"]) == parts
    assert {path.name for path in paths.causal_plots("encoder_2").iterdir()} == {"features.png", "patching.png"}
    assert report.metrics["tested"] == 2
    assert (report.metrics["utterances.understood"], report.metrics["utterances.left_out"]) == (9, 0)
    assert all(np.isfinite(value) for value in report.metrics.values())


def test_a_transcoder_is_tested_at_its_mlp(checkpoint: Path, checkout: None) -> None:
    prepare(checkpoint, "mlp_1")
    causal.run(params(checkpoint, SETTINGS.model_copy(update={"noise": "white"}), site="mlp_1"), "mlp_1")
    parts = [entry["part"] for entry in details("mlp_1")["patching"]]
    assert parts[2:6] == ["word.encoder_1", "elsewhere.encoder_1", "attention_1", "mlp_1"]


def test_a_decoder_and_a_site_without_detectors_are_skipped_with_the_reason(checkpoint: Path, checkout: None) -> None:
    causal.run(params(checkpoint), "decoder_1")
    assert "tokens, which have no phone" in details("decoder_1")["skipped"][0]
    save_interpretation("encoder_2", {"ZH": 9})
    assert causal.run(params(checkpoint), "encoder_2").metrics["tested"] == 0
    assert "no phone has a detector and 5 eval utterances" in details()["skipped"][0]
    assert pd.read_csv(paths.causal_metrics("encoder_2")).empty
    assert not list(paths.causal_plots("encoder_2").iterdir())


def test_claims_with_too_few_utterances_are_skipped_with_the_reason(checkpoint: Path, checkout: None) -> None:
    index = paths.features("encoder_2") / "index.parquet"
    frame = pd.read_parquet(index)
    frame["phone"] = frame["phone"].astype(str).where(frame["word"].astype(str) == "", "AA")  # both words have it
    frame.to_parquet(index)
    save_interpretation("encoder_2", {"AA": 5})
    causal.run(params(checkpoint), "encoder_2")
    assert set(details()["features"][0]["interventions"]) == {"ablate"}
    assert details()["skipped"] == ["feature 5, steer: fewer than 5 eval utterances hold words without /AA/"]


def test_without_other_features_all_controls_are_random(checkpoint: Path, checkout: None) -> None:
    save_interpretation("encoder_2", {f"P{feature}": feature for feature in range(2, WIDTH)} | {"AA": 0, "S": 1})
    causal.run(params(checkpoint), "encoder_2")
    assert [entry["controls"] for entry in details()["features"]] == [" ".join(["random"] * 6)] * 2


def test_detectors_are_ranked_by_train(checkpoint: Path, checkout: None) -> None:
    phones = pd.DataFrame({"phone": ["IY", "AA", "S"], "feature": [7, 5, 7], "scored": True})
    phones["auroc"], phones["auroc_train"] = [0.99, 0.98, 0.9], [0.7, 0.8, 0.9]  # as sorted on eval
    features = pd.DataFrame({"feature": range(WIDTH), "mean_active": 1.0, "detects": ""})
    chosen = choose_detectors(phones, features, trial_speech(), SETTINGS)
    assert [(one.feature, one.phone) for one in chosen] == [(7, "S"), (5, "AA")]
    assert [one.feature for one in choose_detectors(phones, features, trial_speech(), one_feature())] == [7]


def one_feature() -> CausalConfig:
    return SETTINGS.model_copy(update={"features": 1})


def test_utterances_that_whisper_mishears_are_left_out(
    checkpoint: Path, checkout: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = {"ann-0": "w1 w2", "ann-1": "w1", "bob-0": "w1 w1 w2"}

    def clean(setting: Any, spoken: Sequence[trials.Spoken]) -> list[trials.Row]:
        errors = [word_errors(one.text, heard.get(one.name, "w1 w2")) for one in spoken]
        named = [(one.name, one.speaker, "clean", 0, "", 0.0, 0, 0.0, 2) for one in spoken]
        return [trials.Row(*row, *counts) for row, counts in zip(named, errors, strict=True)]

    monkeypatch.setattr(study, "clean_trial", clean)
    report = causal.run(params(checkpoint, SETTINGS.model_copy(update={"max_wer": 0.4, "words": 99})), "encoder_2")
    assert (report.metrics["utterances.understood"], report.metrics["utterances.left_out"]) == (7, 2)
    assert pd.read_csv(paths.causal_metrics("encoder_2"))["utterances"].tolist() == [7] * 4


def test_utterances_are_added_until_there_are_words_enough(checkpoint: Path, checkout: None) -> None:
    speech = trial_speech()
    few = speech.with_phone("S", SETTINGS)
    assert len(few) == 6
    assert all({one.speaker for one in few[turn : turn + 2]} == {"ann", "bob"} for turn in (0, 2, 4))
    assert len(speech.with_phone("S", SETTINGS.model_copy(update={"words": 8}))) == 8
    assert len(speech.with_phone("S", SETTINGS.model_copy(update={"words": 99}))) == 9
    assert len(speech.only({"ann-1", "bob-2"}).with_phone("S", SETTINGS)) == 2


def test_trial_speech_is_what_fits_its_alignment(checkpoint: Path, checkout: None) -> None:
    speech = trial_speech()
    held = speech.pool(99)
    assert len(held) == 9  # ten eval utterances, one of them without a transcript
    first = held[0].words
    assert [(word.start, word.end, word.number) for word in first] == [(0, 11, 0), (16, 26, 1)]
    assert [word.phones for word in first] == [{"S", "IY"}, {"AA"}]
    assert speech.with_phone("ZH", SETTINGS) == []
    noisy, again = speech.noisy(SETTINGS), trial_speech().noisy(SETTINGS)
    assert len(noisy) == SETTINGS.utterances
    for trial, same in zip(noisy, again, strict=True):
        np.testing.assert_array_equal(trial.noisy_16k, same.noisy_16k)
        clean = trial.spoken.samples_16k
        ratio = np.sum(np.square(clean)) / np.sum(np.square(trial.noisy_16k - clean))
        assert 10 * np.log10(ratio) == pytest.approx(SETTINGS.snr_db, abs=0.1)
        assert trial.target == same.target in (0, 1)


def test_the_stage_is_not_applicable_to_speech_without_words(checkpoint: Path, checkout: None) -> None:
    write_corpus(empty=tuple(f"{speaker}-{take}" for speaker in ("ann", "bob") for take in range(8)))
    with pytest.raises(NotApplicable, match="fewer than two eval utterances have a transcript"):
        causal.run(params(checkpoint), "encoder_2")
