from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from phonoscope import paths
from phonoscope.audio import read_audio, resample, write_flac
from phonoscope.config.params import Params
from phonoscope.config.sites import Site
from phonoscope.data import Features
from phonoscope.data.labels import Interval
from phonoscope.errors import DataError, ParamsError
from phonoscope.pipeline import features
from phonoscope.pipeline.listening import utterances
from phonoscope.whisper import Whisper, encoder_features
from phonoscope.whisper.collect import centred_labels
from phonoscope.whisper.sites import Normaliser
from phonoscope.whisper.utterances import eval_utterances

from .checkout import EVAL_PER_SPEAKER, RATE, small_params, write_corpus

SITES = ("encoder_2", "encoder_all", "mlp_1", "decoder_1")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return write_corpus(empty=("bob-1",))


def params(checkpoint: Path, *, sites: tuple[str, ...] = SITES, **whisper: Any) -> Params:
    return small_params(checkpoint, sites, **{"compare": 3, "batch_s": 4.0, **whisper})


def read_features(site: str) -> Features:
    return Features.load(paths.features(site))


def audio(name: str) -> np.ndarray[Any, Any]:
    return resample(*read_audio(paths.CORPUS / name.split("-")[0] / "c" / f"{name}.flac"), 16_000)


def test_every_site_has_its_rows_and_every_row_knows_whose_it_is(checkpoint: Path, checkout: list[str]) -> None:
    report = features.run(params(checkpoint))
    saved = {site: read_features(site) for site in SITES}
    frames = [len(range(0, len(audio(name)), 320)) for name in checkout]
    assert report.metrics["frames"] == sum(frames) == len(saved["encoder_2"].values)
    assert [saved[site].values.shape[1:] for site in SITES] == [(8,), (3, 8), (2, 8), (8,)]
    index = saved["encoder_2"].index
    assert index["utterance"].tolist() == [n for n, count in zip(checkout, frames, strict=True) for _ in range(count)]
    first = index[index["utterance"] == "ann-0"]
    assert first["frame"].tolist() == list(range(frames[0]))
    # a frame is centred on 20 i ms: 5 lies at 0.1 s, half in /S/, half in /IY/, and the earlier wins a tie
    assert first["phone"].tolist()[:12] == ["S"] * 6 + ["IY"] * 5 + ["SIL"]
    assert first["word"].tolist()[9:17] == ["w1", "w1", "", "", "", "", "", "w2"]
    assert first["word_index"].tolist()[9:17] == [0, 0, -1, -1, -1, -1, -1, 1]
    assert (first[["speaker", "sex"]] == ["ann", "F"]).all(axis=None)
    held_out = {f"{speaker}-{take}" for speaker in ("ann", "bob") for take in range(EVAL_PER_SPEAKER)}
    assert set(index.loc[index["split"] == "eval", "utterance"]) == held_out
    assert saved["encoder_2"].starts()["ann-1"] == frames[0]


def test_rows_can_be_un_normalised(checkpoint: Path, tiny: Whisper, checkout: list[str]) -> None:
    features.run(params(checkpoint, sites=("encoder_2", "encoder_all")))
    saved, stack = read_features("encoder_2"), read_features("encoder_all")
    rows = saved.index["utterance"] == "bob-3"
    mean, deviation = (torch.tensor(saved.index.loc[rows, name].to_numpy()) for name in ("mean", "deviation"))
    normaliser = Normaliser(tiny, Site.parse("encoder_2"), "final")
    raw = normaliser.undo(torch.from_numpy(saved.values[rows].astype(np.float32)), mean, deviation)
    (expected,) = encoder_features(tiny, [audio("bob-3")], 2, context_s=1.0)
    torch.testing.assert_close(raw, expected, rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(stack.values[:, 1], saved.values)
    np.testing.assert_array_equal(stack.index["mean_2"], saved.index["mean"])


def test_decoder_rows_are_the_transcripts_positions(checkpoint: Path, checkout: list[str]) -> None:
    features.run(params(checkpoint, sites=("decoder_0", "decoder_2")))
    index = read_features("decoder_2").index
    assert index["utterance"].value_counts().to_dict() == {n: 2 if n == "bob-1" else 4 for n in checkout}
    own = index[index["utterance"] == "ann-2"]
    assert own["word"].tolist() == ["<|startoftranscript|>", "<|notimestamps|>", "w0", "w0"]  # unknown to it
    assert own["frame"].tolist() == list(range(4))
    assert (index["phone"] == "").all()


@pytest.mark.parametrize("whisper", [{}, {"pack": True, "context_s": 30.0}])
def test_a_click_is_found_in_its_own_row(checkpoint: Path, checkout: list[str], whisper: dict[str, Any]) -> None:
    path = paths.CORPUS / "bob/c/bob-2.flac"
    settings = params(checkpoint, sites=("encoder_0",), normalize="none", **whisper)
    features.run(settings)
    before = read_features("encoder_0").values.astype(np.float32)
    samples, _ = read_audio(path)
    samples[round(0.4 * RATE)] += 0.5
    write_flac(path, samples, RATE)
    features.run(settings)
    after = read_features("encoder_0")
    moved = int(np.linalg.norm(after.values.astype(np.float32) - before, axis=1).argmax())
    row = after.index.iloc[moved]
    assert (row["utterance"], row["frame"]) == ("bob-2", 20)


def test_what_the_windows_save_and_change_is_reported(checkpoint: Path, checkout: list[str]) -> None:
    short = features.run(params(checkpoint, sites=("encoder_2",))).metrics
    packed = features.run(params(checkpoint, sites=("encoder_2",), pack=True)).metrics
    full = features.run(params(checkpoint, sites=("encoder_2",), context_s=30.0)).metrics
    assert (short["windows"], packed["windows"], full["windows"]) == (16, 2, 16)
    assert (short["encoded_s"], packed["encoded_s"], full["encoded_s"]) == (16, 60, 480)
    assert short["encoded_s_full"] == 480
    assert full["encoder_2.window_cosine"] == pytest.approx(1, abs=1e-3)
    assert full["encoder_2.window_difference"] < 1e-4 < packed["encoder_2.window_difference"]
    table = pd.read_csv(paths.stage_metrics("features"))
    assert dict(zip(table["metric"], table["value"], strict=True)) == pytest.approx(full)


def test_a_site_that_does_not_exist_is_refused_and_leaves_nothing(checkpoint: Path, checkout: list[str]) -> None:
    with pytest.raises(ParamsError, match="encoder_7"):
        features.run(params(checkpoint, sites=("encoder_2", "encoder_7")))
    assert not paths.FEATURES.exists()


def test_audio_that_is_not_the_manifests_is_refused(checkpoint: Path, checkout: list[str]) -> None:
    write_flac(paths.CORPUS / "ann/c/ann-1.flac", np.full(RATE, 0.1, np.float32), RATE)
    with pytest.raises(DataError, match=r"ann-1\.flac: 16000 samples at 16 kHz, but 9600 by the manifest"):
        features.run(params(checkpoint, sites=("encoder_1",)))


def test_eval_utterances_have_a_transcript(checkout: list[str]) -> None:
    chosen = eval_utterances(utterances(), 99)
    assert len(chosen) == 2 * EVAL_PER_SPEAKER - 1
    assert {one.text for one in chosen} == {"W1 w2."}
    assert [one.text for one in utterances() if not one.text] == [""]
    write_corpus(empty=tuple(checkout))
    with pytest.raises(DataError, match="no eval utterance has a transcript"):
        eval_utterances(utterances(), 3)


def test_labels_are_of_the_frames_centre() -> None:
    intervals = [Interval(0.0, 0.051, "A"), Interval(0.051, 0.2, "B")]
    # frame 2 covers 0.03-0.05, frame 3 0.05-0.07; frame 10, 0.19-0.21, is half beyond
    assert centred_labels(intervals, 12).tolist() == ["A"] * 3 + ["B"] * 8 + ["SIL"]
