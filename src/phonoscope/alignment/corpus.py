"""Alignment of utterances by whichever method applies; of a whole corpus, in shards that survive an interruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from phonoscope.alignment.events import align_events
from phonoscope.alignment.forced import SAMPLE_RATE_HZ, force_align, outside_dictionary
from phonoscope.alignment.pitch import f0_track
from phonoscope.alignment.textgrid import read_textgrid, write_textgrid
from phonoscope.audio import read_audio, resample
from phonoscope.config.alignment import AlignmentConfig
from phonoscope.data.labels import Alignment, Track, label_tables
from phonoscope.data.manifest import Manifest
from phonoscope.errors import DataError, TooManyRejected
from phonoscope.events import PhoneEvent
from phonoscope.files import write_parquet
from phonoscope.shards import resumable, shard_key, take_files

SHARD_UTTERANCES = 32
OUTCOME_FILE = "outcome.parquet"
_OUTCOME = pa.schema([(name, pa.string()) for name in ("path", "method", "by_rule", "reason")])


class Job(NamedTuple):
    """One utterance to align."""

    utterance: str
    path: str  # of the audio, below the corpus folder
    text: str
    accent: str  # the synthesizer's, such as `en-us`; only phone events need it
    events: tuple[PhoneEvent, ...]
    given: Path | None  # a TextGrid


def plan(manifest: Manifest, events: pd.DataFrame, textgrids: Mapping[str, Path]) -> list[Job]:
    """Every utterance with its text, its phone events and its TextGrid; `events`: utterance, fields of `PhoneEvent`."""
    columns = list(PhoneEvent._fields)
    spoken = {
        str(utterance): tuple(PhoneEvent(*row) for row in rows[columns].itertuples(index=False))
        for utterance, rows in events.groupby("utterance", observed=True, sort=False)
    }
    rows = zip(*(map(str, manifest[name]) for name in ("utterance", "path", "text", "accent")), strict=True)
    return [
        Job(name, path, text, accent, spoken.get(name, ()), textgrids.get(name)) for name, path, text, accent in rows
    ]


def method_of(job: Job, config: AlignmentConfig) -> str:
    """How an utterance is aligned: given, events or forced."""
    if config.method != "auto":
        return config.method
    return "given" if job.given else "events" if job.events else "forced"


def align_utterance(samples: NDArray[np.float32], sample_rate: int, job: Job, config: AlignmentConfig) -> Alignment:
    """Align one utterance by `config.method`; `auto` takes the given TextGrid, else the events, else forced alignment.

    Raises: `DataError` with the reason if that method cannot align it.
    """
    method = method_of(job, config)
    if method == "given":
        if job.given is None:
            raise DataError("this utterance has no TextGrid")
        return read_textgrid(job.given, len(samples) / sample_rate, config.stress)
    if method == "events":
        if not job.events:
            raise DataError("no phone events: only synthesized speech has them; align it by force, or give a TextGrid")
        return align_events(job.events, job.text, job.accent, samples, sample_rate, config.stress)
    if config.stress == "keep":
        raise DataError("forced alignment has no stress digits; strip stress, or give a TextGrid")
    return force_align(resample(samples, sample_rate, SAMPLE_RATE_HZ), job.text)


def align_corpus(
    jobs: Sequence[Job],
    audio: Path,
    folder: Path,
    config: AlignmentConfig,
    kept: Path,
    *,
    max_rejected: float,
    workers: int = 1,
) -> pd.DataFrame:
    """Write into `folder` a TextGrid of every utterance and the tables of `data.Labels`, exactly as these read.

    Finished shards wait in `kept`, so that an interrupted run can be continued.
    Returns: path, method, by_rule (the words that no dictionary has, pronounced by rule), and reason where an utterance
    cannot be aligned and is left out, else "".
    Raises: `DataError` with the first reason if these are more than the share `max_rejected`.
    """
    shards = [jobs[start : start + SHARD_UTTERANCES] for start in range(0, len(jobs), SHARD_UTTERANCES)]
    work = partial(_align_shard, audio=audio, config=config)
    key = partial(_key, config.model_dump_json(), audio)
    # the empty tables give a corpus without utterances its columns
    parts = {name: [table] for name, table in (label_tables({}, {}) | {OUTCOME_FILE: _OUTCOME.empty_table()}).items()}
    for shard in resumable(work, shards, key, kept, workers=workers, description="align"):
        take_files(shard / "grids", folder)
        for name, tables in parts.items():
            tables.append(pq.read_table(shard / name))
    outcome = pa.concat_tables(parts.pop(OUTCOME_FILE)).to_pandas()
    rejected = outcome[outcome["reason"] != ""]
    if len(rejected) > max_rejected * len(jobs):
        path, reason = rejected.iloc[0][["path", "reason"]]
        left = f"{len(rejected)} of {len(jobs)} utterances cannot be aligned, more than the allowed share"
        raise TooManyRejected(f"{left} of {max_rejected:g}; the first is {path}: {reason}")
    for name, tables in parts.items():
        write_parquet(folder / name, pa.concat_tables(tables).unify_dictionaries().combine_chunks())
    return outcome


def _key(settings: str, audio: Path, shard: Sequence[Job]) -> str:
    files = [audio / job.path for job in shard] + [job.given for job in shard if job.given]
    return shard_key(settings, [repr(job) for job in shard], files=files)


def _align_shard(shard: Sequence[Job], folder: Path, audio: Path, config: AlignmentConfig) -> None:
    """Write TextGrids below `grids`, label tables, and the reason of every utterance that cannot be aligned."""
    alignments: dict[str, Alignment] = {}
    tracks: dict[str, Track] = {}
    rows = []
    (folder / "grids").mkdir()
    for job in shard:
        grid, reason = (folder / "grids" / job.path).with_suffix(".TextGrid"), ""
        method = method_of(job, config)
        try:
            samples, sample_rate = read_audio(audio / job.path)
            alignment = align_utterance(samples, sample_rate, job, config)
            write_textgrid(grid, alignment, len(samples) / sample_rate)
            tracks[job.utterance] = f0_track(samples, sample_rate, config)
            alignments[job.utterance] = read_textgrid(grid, stress="keep")  # with a TextGrid's rounding of times
        except DataError as error:
            reason = str(error)
        by_rule = " ".join(outside_dictionary(job.text)) if method == "forced" and not reason else ""
        rows.append({"path": job.path, "method": method, "by_rule": by_rule, "reason": reason})
    for name, table in label_tables(alignments, tracks).items():
        write_parquet(folder / name, table)
    write_parquet(folder / OUTCOME_FILE, pa.Table.from_pylist(rows, schema=_OUTCOME))
