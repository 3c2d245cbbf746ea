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

from phonoscope.pipeline.integrity.consistency import (
    check_manifest,
    check_rows,
    check_split,
    check_tokens,
    check_utterances,
)

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
    assert list(check_manifest(*corpus)) == []


def test_a_manifests_disagreements_are_named(corpus: tuple[pd.DataFrame, Path]) -> None:
    manifest, folder = corpus
    (folder / "a-1.flac").rename(folder / "other.flac")
    sf.write(folder / "a-2.flac", np.cos(np.arange(RATE) / 7), RATE)
    manifest.loc[2, "duration_s"] = 1.5
    manifest.loc[3, "utterance"] = "a-1"
    found = list(check_manifest(manifest, folder))
    assert [reason.split()[0] for reason in found] == ["utterance", "a-1.flac", "a-2.flac", "b-1.flac", "other.flac"]
    assert "sha256" in found[2]
    assert "1.5000 s" in found[3]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"eval": ["a-1", "a-2", "b-2"]}, "a-1 is in train and in eval"),
        ({"train": ["a-1", "a-1", "b-1"]}, "train holds an utterance twice"),
        ({"eval": ["a-2", "b-2", "c-9"]}, "eval holds c-9, which the manifest lacks"),
        ({"speaker_folds": [["a"], ["a", "b"]]}, "a speaker is in two folds"),
        ({"speaker_folds": [["a"]]}, "speaker b is in no fold"),
        ({"train": ["a-1"]}, "b-1 of the manifest is in neither train nor eval"),
    ],
)
def test_a_splits_faults_are_named(change: dict[str, Any], reason: str | None) -> None:
    assert list(check_split(SPLIT | change, SPEAKERS)) == ([] if reason is None else [reason])


def test_an_empty_side_of_a_split_is_named() -> None:
    assert "eval is empty" in check_split(SPLIT | {"eval": []}, SPEAKERS)


def write_tokens(path: Path, groups: list[dict[str, Any]]) -> None:
    tables = [pa.table(group) for group in groups]
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def tokens_of(utterance: str, frames: int, code: int = 3) -> dict[str, Any]:
    return {
        "utterance": [utterance] * frames,
        "frame": np.arange(frames, dtype=np.int32),
        "code_1": np.full(frames, code, np.int16),
    }


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([tokens_of("a", 50), tokens_of("b", 26)], None),
        ([tokens_of("a", 50), tokens_of("b", 24)], None),
        ([tokens_of("a", 52)], "a: 52 frames for 1.000 s at 50 a second"),
        ([tokens_of("a", 50, code=8)], "layer 1, a: code 8 is not in a codebook of 8"),
        ([tokens_of("a", 50, code=-1)], "layer 1, a: code -1 is not in a codebook of 8"),
        ([tokens_of("c", 50)], "c is not in the manifest"),
        ([tokens_of("a", 50), tokens_of("a", 50)], "a is split over row groups"),
        (
            [tokens_of("a", 50) | {"frame": np.arange(1, 51, dtype=np.int32)}],
            "a: its frames are not numbered from 0 to 49",
        ),
        ([{"utterance": ["a"], "frame": [0]}], "lacks the column code_1"),
    ],
)
def test_faults_of_tokens_are_named(tmp_path: Path, groups: list[dict[str, Any]], reason: str | None) -> None:
    write_tokens(tmp_path / "tokens.parquet", groups)
    found = list(check_tokens(tmp_path / "tokens.parquet", [8], 50.0, {"a": 1.0, "b": 0.5}))
    assert found == ([] if reason is None else [reason])


def test_an_array_has_a_row_for_each_of_its_index(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", np.zeros((5, 2), np.float16))
    for rows, expected in ((5, []), (6, ["5 rows, but its index has 6"])):
        pq.write_table(pa.table({"frame": np.arange(rows)}), tmp_path / "index.parquet")
        assert list(check_rows(tmp_path / "features.npy", tmp_path / "index.parquet")) == expected


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
    write_tokens(tmp_path / "tracks.parquet", [tokens_of("a", 3), tokens_of("b", 2)])
    write_tokens(tmp_path / "tokens.parquet", [tokens_of(utterance, 2) for utterance in utterances])
    found = list(check_utterances(tmp_path / "tokens.parquet", tmp_path / "tracks.parquet"))
    assert found == ([] if reason is None else [reason])
