from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from phonoscope.data import Split
from phonoscope.pipeline.integrity.consistency import check_audio_files, check_split, check_utterances

RATE = 8000
SPEAKERS = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}
SPLIT: dict[str, Any] = {"train": ["a-1", "b-1"], "eval": ["a-2", "b-2"], "speaker_folds": [["a"], ["b"]]}


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    rows = []
    for index, utterance in enumerate(SPEAKERS):
        path = tmp_path / f"{utterance}.flac"
        sf.write(path, np.sin(np.arange(RATE + index) / 7), RATE)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append((utterance, path.name, (RATE + index) / RATE, RATE, digest))
    columns = ["utterance", "path", "duration_s", "sample_rate", "sha256"]
    return pd.DataFrame(rows, columns=columns), tmp_path


def test_a_manifest_agrees_with_its_files(corpus: tuple[pd.DataFrame, Path]) -> None:
    assert list(check_audio_files(*corpus)) == []


def test_a_manifests_disagreements_are_named(corpus: tuple[pd.DataFrame, Path]) -> None:
    manifest, folder = corpus
    (folder / "a-1.flac").rename(folder / "other.flac")
    sf.write(folder / "a-2.flac", np.cos(np.arange(RATE) / 7), RATE)
    manifest.loc[2, "duration_s"] = 1.5
    reasons = list(check_audio_files(manifest, folder))
    assert [reason.split()[0] for reason in reasons] == ["a-1.flac", "a-2.flac", "b-1.flac", "other.flac"]
    assert "sha256" in reasons[1]
    assert "1.5000 s" in reasons[2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"train": ["a-1", "a-1", "b-1"]}, "train holds an utterance twice"),
        ({"eval": ["a-2", "b-2", "c-9"]}, "eval holds c-9, which the manifest lacks"),
        ({"speaker_folds": [["a"]]}, "speaker b is in no fold"),
        ({"train": ["a-1"]}, "b-1 of the manifest is in neither train nor eval"),
    ],
)
def test_a_splits_faults_are_named(change: dict[str, Any], reason: str | None) -> None:
    assert list(check_split(Split(**SPLIT | change), SPEAKERS)) == ([] if reason is None else [reason])


def test_an_empty_side_of_a_split_is_named() -> None:
    assert "eval is empty" in check_split(Split(**SPLIT | {"eval": []}), SPEAKERS)


def write(path: Path, utterances: list[str]) -> None:
    pq.write_table(pa.table({"utterance": np.repeat(utterances, 3)}), path)


@pytest.mark.parametrize(
    ("utterances", "reason"),
    [
        (["a", "b"], None),
        (["a"], "lacks b, which was aligned"),
        (["a", "b", "c"], "holds c, which was not aligned"),
    ],
)
def test_the_utterances_of_a_table_are_those_that_were_aligned(
    tmp_path: Path, utterances: list[str], reason: str | None
) -> None:
    write(tmp_path / "tracks.parquet", ["a", "b"])
    write(tmp_path / "tokens.parquet", utterances)
    reasons = list(check_utterances(tmp_path / "tokens.parquet", tmp_path / "tracks.parquet"))
    assert reasons == ([] if reason is None else [reason])
