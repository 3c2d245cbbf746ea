"""Whether artifacts agree with each other: manifest and audio, split and manifest, tokens and durations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SLACK_S = 1e-4
"""Less than a sample at 8 kHz."""
SLACK_FRAMES = 1.0
"""How far an utterance's frames may be from duration x rate: codecs round up, down or to the nearest."""


def check_manifest(manifest: pd.DataFrame, folder: Path) -> Iterator[str]:
    """What is wrong between a manifest and the audio files under `folder`."""
    import soundfile as sf

    if repeated := manifest["utterance"][manifest["utterance"].duplicated()].tolist():
        yield f"utterance {repeated[0]} stands there twice"
    for name, sha256, duration_s in zip(*(manifest[key] for key in ("path", "sha256", "duration_s")), strict=True):
        path = folder / name
        if not path.is_file():
            yield f"{name} is in the manifest, but not in the folder"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield f"{name} is not the file of the manifest (sha256)"
        elif abs(sf.info(path).duration - duration_s) > SLACK_S:
            yield f"{name} lasts {sf.info(path).duration:.4f} s, not {duration_s:.4f} s"
    known = set(manifest["path"])
    for file in sorted(folder.rglob("*.flac")):
        if file.relative_to(folder).as_posix() not in known:
            yield f"{file.relative_to(folder).as_posix()} is in the folder, but not in the manifest"


def check_split(split: Mapping[str, Any], speakers: Mapping[str, str]) -> Iterator[str]:
    """What is wrong between a split and the speakers of the utterances by id."""
    sides = {name: split.get(name, []) for name in ("train", "eval")}
    for name, utterances in sides.items():
        if not utterances:
            yield f"{name} is empty"
        if unknown := sorted(set(utterances) - speakers.keys()):
            yield f"{name} holds {unknown[0]}, which the manifest lacks"
        if len(set(utterances)) < len(utterances):
            yield f"{name} holds an utterance twice"
    if both := sorted(set(sides["train"]) & set(sides["eval"])):
        yield f"{both[0]} is in train and in eval"
    if absent := sorted(speakers.keys() - {*sides["train"], *sides["eval"]}):
        yield f"{absent[0]} of the manifest is in neither train nor eval"
    folds = [speaker for fold in split.get("speaker_folds", []) for speaker in fold]
    if len(set(folds)) < len(folds):
        yield "a speaker is in two folds"
    if missing := {speakers[each] for side in sides.values() for each in side if each in speakers} - set(folds):
        yield f"speaker {min(missing)} is in no fold"


def check_tokens(
    tokens: Path, sizes: Sequence[int], frame_rate_hz: float, durations_s: Mapping[str, float]
) -> Iterator[str]:
    """What is wrong with a token table: its columns, codes out of their codebook (`sizes` by layer), frames.

    Reads one row group after the other, so that a table of any size takes constant memory.
    """
    if missing := _missing_columns(tokens, sizes):
        yield missing
        return
    seen: set[str] = set()
    for frame in _token_groups(tokens, sizes):
        yield from _codes(frame, sizes)
        yield from _frames(frame, frame_rate_hz, durations_s, seen)


def check_codes(tokens: Path, sizes: Sequence[int]) -> Iterator[str]:
    """What is wrong with a token table by itself: its columns, and codes out of their codebook (`sizes` by layer)."""
    if missing := _missing_columns(tokens, sizes):
        yield missing
        return
    for frame in _token_groups(tokens, sizes):
        yield from _codes(frame, sizes)


def _token_columns(sizes: Sequence[int]) -> list[str]:
    return ["utterance", "frame", *(f"code_{layer}" for layer in range(1, len(sizes) + 1))]


def _missing_columns(tokens: Path, sizes: Sequence[int]) -> str:
    import pyarrow.parquet as pq

    there = pq.read_schema(tokens).names
    missing = [name for name in _token_columns(sizes) if name not in there]
    return f"lacks the column {missing[0]}" if missing else ""


def _token_groups(tokens: Path, sizes: Sequence[int]) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(tokens) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=_token_columns(sizes)).to_pandas()


def _codes(frame: pd.DataFrame, sizes: Sequence[int]) -> Iterator[str]:
    for layer, size in enumerate(sizes, start=1):
        codes = frame[f"code_{layer}"]
        if len(outside := codes[(codes < 0) | (codes >= size)]):
            where = frame["utterance"].loc[outside.index[0]]
            yield f"layer {layer}, {where}: code {outside.iloc[0]} is not in a codebook of {size}"


def _frames(frame: pd.DataFrame, rate: float, durations_s: Mapping[str, float], seen: set[str]) -> Iterator[str]:
    for utterance, rows in frame.groupby("utterance", sort=False, observed=True)["frame"]:
        name = str(utterance)
        if name in seen:
            yield f"{name} is split over row groups"
        seen.add(name)
        if name not in durations_s:
            yield f"{name} is not in the manifest"
        elif not np.array_equal(rows, np.arange(len(rows))):
            yield f"{name}: its frames are not numbered from 0 to {len(rows) - 1}"
        elif abs(len(rows) - durations_s[name] * rate) > SLACK_FRAMES:
            yield f"{name}: {len(rows)} frames for {durations_s[name]:.3f} s at {rate:g} a second"


def check_utterances(table: Path, tracks: Path) -> Iterator[str]:
    """Whether a table has every utterance that was aligned, which is what the F0 tracks have, and no other."""
    there, aligned = _utterances(table), _utterances(tracks)
    if missing := sorted(aligned - there):
        yield f"lacks {missing[0]}, which was aligned"
    if foreign := sorted(there - aligned):
        yield f"holds {foreign[0]}, which was not aligned"


def _utterances(table: Path) -> set[str]:
    import pandas as pd

    return set(pd.read_parquet(table, columns=["utterance"])["utterance"].unique())


def check_rows(array: Path, index: Path) -> Iterator[str]:
    """Whether a memory-mapped array has one row for each row of its index."""
    import pyarrow.parquet as pq

    rows, indexed = len(np.load(array, mmap_mode="r", allow_pickle=False)), pq.read_metadata(index).num_rows
    if rows != indexed:
        yield f"{rows} rows, but its index has {indexed}"
