from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from phonoscope.data import Manifest, Split
from phonoscope.pipeline.integrity.consistency import check_audio_files, check_split, check_utterances

RATE = 8000
SPEAKERS = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}
SPLIT: dict[str, Any] = {"train": ["a-1", "b-1"], "eval": ["a-2", "b-2"], "speaker_folds": [["a"], ["b"]]}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest beside its audio files."""
    columns: dict[str, list[Any]] = {"speaker": list(SPEAKERS.values()), "path": [], "duration_s": [], "sha256": []}
    for index, utterance in enumerate(SPEAKERS):
        path = tmp_path / f"{utterance}.flac"
        sf.write(path, np.sin(np.arange(RATE + index) / 7), RATE)
        columns["path"].append(path.name)
        columns["duration_s"].append((RATE + index) / RATE)
        columns["sha256"].append(hashlib.sha256(path.read_bytes()).hexdigest())
    Manifest.from_arrays(list(SPEAKERS), **columns).save(tmp_path / "manifest.parquet")
    return tmp_path / "manifest.parquet"


def test_a_manifests_disagreements_with_its_files_are_named(manifest: Path) -> None:
    assert list(check_audio_files(manifest)) == []
    (manifest.parent / "a-1.flac").rename(manifest.parent / "other.flac")
    sf.write(manifest.parent / "a-2.flac", np.cos(np.arange(RATE) / 7), RATE)
    table = Manifest.load(manifest).table
    table.loc[2, "duration_s"] = 1.5
    Manifest(table).save(manifest)
    reasons = list(check_audio_files(manifest))
    assert [reason.split()[0] for reason in reasons] == ["a-1.flac", "a-2.flac", "b-1.flac", "other.flac"]
    assert "sha256" in reasons[1]
    assert "1.5000 s" in reasons[2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"train": ["a-1", "a-1", "b-1"]}, "holds an utterance twice"),
        ({"eval": ["a-2", "b-2", "c-9"]}, "holds c-9, which is not in the manifest"),
        ({"speaker_folds": [["a"]]}, "speaker b is in no fold"),
        ({"train": ["a-1"]}, "lacks b-1, which is in the manifest"),
        ({"train": [*SPLIT["train"], *SPLIT["eval"]], "eval": []}, "eval is empty"),
    ],
)
def test_a_splits_faults_are_named(manifest: Path, change: dict[str, Any], reason: str | None) -> None:
    path = manifest.with_name("split.json")
    Split(**SPLIT | change).save(path)
    assert list(check_split(path, manifest)) == ([] if reason is None else [reason])


def test_a_recording_that_is_in_train_and_in_eval_is_named(manifest: Path) -> None:
    table, path = Manifest.load(manifest).table, manifest.with_name("split.json")
    Split(**SPLIT).save(path)
    table.loc[3, "sha256"] = table.loc[0, "sha256"]
    Manifest(table).save(manifest)
    assert list(check_split(path, manifest)) == [
        "the same recording in eval and train: b-2 and a-1 (1 eval utterances)",
        "near takes or the same text in eval and train: b-2 and a-1 (1 eval utterances)",
    ]


@pytest.mark.parametrize(
    ("utterances", "reasons"),
    [("ab", []), ("a", ["lacks b, which is aligned"]), ("abc", ["holds c, which is not aligned"])],
)
def test_the_utterances_of_a_table_are_those_that_were_aligned(
    tmp_path: Path, utterances: str, reasons: list[str]
) -> None:
    for name, names in {"tracks": "ab", "tokens": utterances}.items():
        pd.DataFrame({"utterance": np.repeat(list(names), 3)}).to_parquet(tmp_path / f"{name}.parquet")
    assert list(check_utterances(tmp_path / "tokens.parquet", tmp_path / "tracks.parquet")) == reasons
