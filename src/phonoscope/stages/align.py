"""Stage `align`: words, phones and F0 of every utterance."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.alignment import SILENCE, AlignmentConfig, Sources, align_utterance, f0_track
from phonoscope.alignment.textgrid import find_textgrids, write_textgrid
from phonoscope.alignment.tracks import Track, track_table
from phonoscope.audio import read_audio
from phonoscope.compute import parallel_map
from phonoscope.errors import DataError, ParamsError
from phonoscope.events import PhoneEvent
from phonoscope.files import atomic_dir, write_csv, write_parquet
from phonoscope.stages.base import StageReport

if TYPE_CHECKING:
    from phonoscope.params import Params


class _Job(NamedTuple):
    utterance: str
    path: str
    sources: Sources


class _Result(NamedTuple):
    track: Track | None
    phones: frozenset[str]
    reason: str = ""


def run(params: Params) -> StageReport:
    """Write the TextGrids, `f0.parquet` and `rejected.csv`; later stages use the utterances that `f0.parquet` has."""
    jobs = _jobs(params.alignment)
    with atomic_dir(paths.ALIGNMENTS) as folder:
        align = partial(_align, config=params.alignment, folder=folder)
        results = parallel_map(align, jobs, workers=params.compute.workers, description="align")
        rejected = [(job.path, result.reason) for job, result in zip(jobs, results, strict=True) if result.reason]
        if len(rejected) > params.corpus.max_rejected * len(jobs):
            path, reason = rejected[0]
            raise DataError(
                f"{len(rejected)} of {len(jobs)} utterances cannot be aligned, more than corpus.max_rejected "
                f"({params.corpus.max_rejected}); the first is {path}: {reason}"
            )
        tracks = {job.utterance: result.track for job, result in zip(jobs, results, strict=True) if result.track}
        write_parquet(folder / paths.F0_TRACKS.name, table := track_table(tracks))
        write_csv(folder / paths.REJECTED.name, pd.DataFrame(rejected, columns=["path", "reason"]))
    phones = frozenset[str]().union(*(result.phones for result in results)) - {SILENCE}
    counts = {"aligned": len(tracks), "rejected": len(rejected), "phones": len(phones)}
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


def _align(job: _Job, config: AlignmentConfig, folder: Path) -> _Result:
    """Write one TextGrid and return the F0 track, or the reason why the utterance cannot be aligned."""
    try:
        samples, sample_rate = read_audio(paths.CORPUS / job.path)
        alignment = align_utterance(samples, sample_rate, job.sources, config)
    except DataError as error:
        return _Result(None, frozenset(), str(error))
    write_textgrid((folder / job.path).with_suffix(".TextGrid"), alignment, len(samples) / sample_rate)
    return _Result(f0_track(samples, sample_rate, config), frozenset(phone.label for phone in alignment.phones))
