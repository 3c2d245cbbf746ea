"""Alignment of a whole corpus, in shards that survive an interruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from phonoscope.alignment.align import Sources, align_utterance
from phonoscope.alignment.pitch import f0_track
from phonoscope.alignment.textgrid import read_textgrid, write_textgrid
from phonoscope.audio import read_audio
from phonoscope.config.alignment import AlignmentConfig
from phonoscope.data.labels import FILES, Alignment, Track, label_tables
from phonoscope.data.manifest import Manifest
from phonoscope.errors import DataError, TooManyRejected
from phonoscope.events import PhoneEvent
from phonoscope.files import write_parquet
from phonoscope.shards import resumable, shard_key, take_files

SHARD_UTTERANCES = 32
OUTCOME_FILE = "outcome.parquet"
_OUTCOME = pa.schema([("path", pa.string()), ("reason", pa.string())])


class Job(NamedTuple):
    """One utterance to align."""

    utterance: str
    path: str
    """Of the audio, below the corpus folder."""
    sources: Sources


@dataclass(frozen=True)
class Outcome:
    """Result of `align_corpus`."""

    utterances: int
    """All utterances, the rejected included."""
    rejected: pd.DataFrame
    """path, reason."""


def plan(manifest: Manifest, events: pd.DataFrame, textgrids: Mapping[str, Path]) -> list[Job]:
    """Every utterance with its text, its phone events and its TextGrid; `events`: utterance, fields of `PhoneEvent`."""
    columns = list(PhoneEvent._fields)
    spoken = {
        str(utterance): tuple(PhoneEvent(*row) for row in rows[columns].itertuples(index=False))
        for utterance, rows in events.groupby("utterance", observed=True, sort=False)
    }
    rows = zip(*(map(str, manifest[name]) for name in ("utterance", "path", "text", "accent")), strict=True)
    return [
        Job(utterance, path, Sources(text, accent, spoken.get(utterance, ()), textgrids.get(utterance)))
        for utterance, path, text, accent in rows
    ]


def align_corpus(
    jobs: Sequence[Job],
    audio: Path,
    folder: Path,
    config: AlignmentConfig,
    kept: Path,
    *,
    max_rejected: float,
    workers: int = 1,
) -> Outcome:
    """Write into `folder` a TextGrid of every utterance and the tables of `data.Labels`.

    Phones and words in the tables are exactly those that reading a TextGrid gives. An utterance that cannot be aligned
    is left out. Finished shards wait in `kept`, so that an interrupted run can be continued.
    Raises: `DataError` with the first reason if more than the share `max_rejected` of the utterances is left out.
    """
    shards = [jobs[start : start + SHARD_UTTERANCES] for start in range(0, len(jobs), SHARD_UTTERANCES)]
    work = partial(_align_shard, audio=audio, config=config)
    key = partial(_key, config.model_dump_json(), audio)
    parts: dict[str, list[pa.Table]] = {name: [] for name in (*FILES, OUTCOME_FILE)}
    for shard in resumable(work, shards, key, kept, workers=workers, description="align"):
        take_files(shard / "grids", folder)
        for name, tables in parts.items():
            tables.append(pq.read_table(shard / name))
    outcome = pa.concat_tables([_OUTCOME.empty_table(), *parts.pop(OUTCOME_FILE)]).to_pandas()
    rejected = outcome[outcome["reason"] != ""].reset_index(drop=True)
    if len(rejected) > max_rejected * len(jobs):
        path, reason = rejected.iloc[0]
        raise TooManyRejected(
            f"{len(rejected)} of {len(jobs)} utterances cannot be aligned, more than the allowed share "
            f"of {max_rejected:g}; the first is {path}: {reason}"
        )
    empty = label_tables({}, {})
    for name, tables in parts.items():
        joined = pa.concat_tables([empty[name], *tables]).unify_dictionaries().combine_chunks()
        write_parquet(folder / name, joined)
    return Outcome(len(jobs), rejected)


def _key(settings: str, audio: Path, shard: Sequence[Job]) -> str:
    files = [audio / job.path for job in shard] + [job.sources.given for job in shard if job.sources.given]
    return shard_key(settings, [repr(job) for job in shard], files=files)


def _align_shard(shard: Sequence[Job], folder: Path, audio: Path, config: AlignmentConfig) -> None:
    """Write TextGrids below `grids`, label tables, and the reason of every utterance that cannot be aligned."""
    alignments: dict[str, Alignment] = {}
    tracks: dict[str, Track] = {}
    rows = []
    (folder / "grids").mkdir()
    for job in shard:
        grid, reason = (folder / "grids" / job.path).with_suffix(".TextGrid"), ""
        try:
            samples, sample_rate = read_audio(audio / job.path)
            alignment = align_utterance(samples, sample_rate, job.sources, config)
            write_textgrid(grid, alignment, len(samples) / sample_rate)
            tracks[job.utterance] = f0_track(samples, sample_rate, config)
            alignments[job.utterance] = read_textgrid(grid, stress="keep")  # with a TextGrid's rounding of times
        except DataError as error:
            reason = str(error)
        rows.append({"path": job.path, "reason": reason})
    for name, table in label_tables(alignments, tracks).items():
        write_parquet(folder / name, table)
    write_parquet(folder / OUTCOME_FILE, pa.Table.from_pylist(rows, schema=_OUTCOME))
