"""Stage `align`: words, phones and F0 of every utterance."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from phonoscope import paths
from phonoscope.alignment import SILENCE, AlignmentConfig, Sources, align_utterance, f0_track
from phonoscope.alignment.textgrid import find_textgrids, write_textgrid
from phonoscope.audio import read_audio
from phonoscope.data.labels import Track, track_table
from phonoscope.errors import DataError, ParamsError
from phonoscope.events import PhoneEvent
from phonoscope.files import atomic_dir, write_csv, write_parquet
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.shards import resumable, shard_key, take_files

if TYPE_CHECKING:
    from phonoscope.config.params import Params


SHARD_UTTERANCES = 32
_OUTCOME = pa.schema([("path", pa.string()), ("reason", pa.string()), ("phones", pa.list_(pa.string()))])


class _Job(NamedTuple):
    utterance: str
    path: str
    sources: Sources


@stage(
    "align",
    desc="Words, phones and F0 of every utterance",
    params=["alignment", "corpus.max_rejected"],
    folders=lambda params: [] if params.alignment.method == "forced" else ["alignment.root"],
)
def run(params: Params) -> StageReport:
    """Write the TextGrids, `f0.parquet` and `rejected.csv`; later stages use the utterances that `f0.parquet` has."""
    jobs, settings = _jobs(params.alignment), params.alignment
    shards = [jobs[start : start + SHARD_UTTERANCES] for start in range(0, len(jobs), SHARD_UTTERANCES)]
    work = partial(_align_shard, config=settings)
    key = partial(_key, settings.model_dump_json())
    tracks, outcomes = [track_table({})], [_OUTCOME.empty_table()]
    with atomic_dir(paths.ALIGNMENTS) as folder:
        for shard in resumable(
            work, shards, key, paths.shards("align"), workers=params.compute.workers, description="align"
        ):
            take_files(shard / "grids", folder)
            tracks.append(pq.read_table(shard / "f0.parquet"))
            outcomes.append(pq.read_table(shard / "outcome.parquet"))
        outcome = pa.concat_tables(outcomes).to_pandas()
        rejected = outcome.loc[outcome["reason"] != "", ["path", "reason"]]
        if len(rejected) > params.corpus.max_rejected * len(jobs):
            path, reason = rejected.iloc[0]
            raise DataError(
                f"{len(rejected)} of {len(jobs)} utterances cannot be aligned, more than corpus.max_rejected "
                f"({params.corpus.max_rejected}); the first is {path}: {reason}"
            )
        table = pa.concat_tables(tracks).unify_dictionaries().combine_chunks()
        write_parquet(folder / paths.F0_TRACKS.name, table)
        write_csv(folder / paths.REJECTED.name, rejected)
    phones = frozenset[str]().union(*outcome["phones"]) - {SILENCE}
    counts = {"aligned": len(jobs) - len(rejected), "rejected": len(rejected), "phones": len(phones)}
    voiced = float(np.isfinite(table["f0_hz"].to_numpy()).mean()) if len(table) else 0.0
    report = StageReport({**{name: float(count) for name, count in counts.items()}, "voiced_share": voiced})
    write_csv(paths.stage_metrics("align"), report.table())
    return report


def _jobs(config: AlignmentConfig) -> list[_Job]:
    root = Path(config.root)
    if config.method in ("auto", "given") and not root.is_dir():
        raise ParamsError(f"alignment.root: {config.root!r} is no folder; give one, or set alignment.method to forced")
    given = find_textgrids(root) if config.method in ("auto", "given") else {}
    if not paths.MANIFEST.exists():
        raise DataError(f"{paths.MANIFEST}: no such file; run `dvc repro corpus`")
    columns = list(PhoneEvent._fields)
    events = {
        str(utterance): tuple(PhoneEvent(*row) for row in rows[columns].itertuples(index=False))
        for utterance, rows in pd.read_parquet(paths.PHONE_EVENTS).groupby("utterance", observed=True, sort=False)
    }
    manifest = pd.read_parquet(paths.MANIFEST, columns=["utterance", "path", "text", "accent"])
    return [
        _Job(utterance, path, Sources(text, accent, events.get(utterance, ()), given.get(utterance)))
        for utterance, path, text, accent in manifest.astype(str).itertuples(index=False, name=None)
    ]


def _key(settings: str, shard: Sequence[_Job]) -> str:
    files = [paths.CORPUS / job.path for job in shard] + [job.sources.given for job in shard if job.sources.given]
    return shard_key(settings, [repr(job) for job in shard], files=files)


def _align_shard(shard: Sequence[_Job], folder: Path, config: AlignmentConfig) -> None:
    """Write the TextGrids of some utterances below `grids`, their F0 tracks, and what became of each."""
    tracks: dict[str, Track] = {}
    rows = []
    (folder / "grids").mkdir()
    for job in shard:
        try:
            tracks[job.utterance], phones = _align(job, config, folder / "grids")
            rows.append({"path": job.path, "reason": "", "phones": sorted(phones)})
        except DataError as error:
            rows.append({"path": job.path, "reason": str(error), "phones": []})
    write_parquet(folder / "f0.parquet", track_table(tracks))
    write_parquet(folder / "outcome.parquet", pa.Table.from_pylist(rows, schema=_OUTCOME))


def _align(job: _Job, config: AlignmentConfig, folder: Path) -> tuple[Track, set[str]]:
    """Write one TextGrid; return the F0 track and the phones. Raises `DataError` if it cannot be aligned."""
    samples, sample_rate = read_audio(paths.CORPUS / job.path)
    alignment = align_utterance(samples, sample_rate, job.sources, config)
    write_textgrid((folder / job.path).with_suffix(".TextGrid"), alignment, len(samples) / sample_rate)
    return f0_track(samples, sample_rate, config), {phone.label for phone in alignment.phones}
