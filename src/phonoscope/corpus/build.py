"""From a source's items to checked FLAC files, a manifest, the known phones and a list of what was rejected."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from phonoscope.audio import check_audio, write_flac
from phonoscope.compute import derive_seed
from phonoscope.corpus.items import AudioFile, RawItem, Rejected, check_id
from phonoscope.data.manifest import manifest_schema
from phonoscope.errors import DataError, TooManyRejected
from phonoscope.files import write_parquet
from phonoscope.shards import resumable, shard_key, take_files

SHARD_UTTERANCES = 32
REASONS_SHOWN = 3
SAMPLE_RATES_HZ = (4_000, 655_350)  # the upper end is FLAC's
_TIMES = [("start_s", pa.float64()), ("end_s", pa.float64())]
_EVENTS = [("utterance", pa.string()), *_TIMES, ("symbol", pa.string()), ("word_index", pa.int32())]
_REJECTED = [("path", pa.string()), ("reason", pa.string())]
SCHEMAS = {"manifest": manifest_schema(), "phone_events": pa.schema(_EVENTS), "rejected": pa.schema(_REJECTED)}


@dataclass(frozen=True)
class Corpus:
    """Result of `write_corpus`: tables `manifest` and `phone_events` (Arrow), `rejected` (path, reason)."""

    manifest: pa.Table
    phone_events: pa.Table
    rejected: pd.DataFrame


def screen(items: Iterable[RawItem | Rejected]) -> tuple[list[RawItem], list[Rejected]]:
    """Separate items with safe, unused ids from the others."""
    accepted: dict[str, RawItem] = {}
    rejected: list[Rejected] = []
    for item in items:
        if isinstance(item, Rejected):
            rejected.append(item)
            continue
        try:
            for name in (item.utterance, item.speaker, item.chapter):
                check_id(name)
            if item.utterance in accepted:
                raise DataError(f"the id {item.utterance} is taken by {accepted[item.utterance].origin}")
            accepted[item.utterance] = item
        except DataError as error:
            rejected.append(Rejected(item.origin, str(error)))
    return list(accepted.values()), rejected


def _interleave(groups: Sequence[Sequence[RawItem]]) -> list[RawItem]:
    """The first of every group, then the second of every group, and so on."""
    return [item for rank in zip_longest(*groups) for item in rank if item is not None]


def _grouped(items: Iterable[RawItem], field: str, seed: int) -> list[list[RawItem]]:
    """Items by a field's value, the groups in an order drawn from the seed."""
    groups: dict[str, list[RawItem]] = defaultdict(list)
    for item in items:
        groups[getattr(item, field)].append(item)
    return [groups[value] for value in sorted(groups, key=lambda value: (derive_seed(seed, field, value), value))]


def sample(items: Sequence[RawItem], size: int, seed: int) -> list[RawItem]:
    """At most `size` items, spread as evenly as they allow over strata and, within one, over speakers.

    The draw depends on ids and the seed only, not on the items' order. `size` 0 takes all.
    """
    if not 0 < size < len(items):
        return list(items)
    shuffled = sorted(items, key=lambda item: (derive_seed(seed, item.utterance), item.utterance))
    strata = [_interleave(_grouped(stratum, "speaker", seed)) for stratum in _grouped(shuffled, "stratum", seed)]
    return _interleave(strata)[:size]


def _write_utterance(item: RawItem, folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write one FLAC; return its row of the manifest and its phone events."""
    loaded, (low, high) = item.audio.load(), SAMPLE_RATES_HZ
    check_audio(loaded.samples, loaded.sample_rate)
    if not low <= loaded.sample_rate <= high:
        raise DataError(f"sample rate {loaded.sample_rate} Hz lies outside [{low}, {high}]")
    path = Path(item.speaker) / item.chapter / f"{item.utterance}.flac"
    write_flac(folder / path, loaded.samples, loaded.sample_rate)
    row = {name: getattr(item, name) for name in ("utterance", "text", "speaker", "sex", "accent", "word", "split")}
    row |= {
        "path": path.as_posix(),
        "duration_s": loaded.samples.size / loaded.sample_rate,
        "sample_rate": loaded.sample_rate,
        "sha256": hashlib.sha256((folder / path).read_bytes()).hexdigest(),
    }
    return row, [{"utterance": item.utterance, **event._asdict()} for event in loaded.events]


def _key(shard: Sequence[RawItem]) -> str:
    files = [item.audio.path for item in shard if isinstance(item.audio, AudioFile)]
    return shard_key([repr(item) for item in shard], files=files)


def _write_shard(shard: Sequence[RawItem], folder: Path) -> None:
    """Write the FLACs of some items below `audio`, and their parts of the tables."""
    parts: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    (folder / "audio").mkdir()
    for item in shard:
        try:
            row, phones = _write_utterance(item, folder / "audio")
        except DataError as error:
            # without the absolute path, so that rejected.csv is the same on every machine
            reason = str(error).removeprefix(f"{getattr(item.audio, 'path', None)}: ")
            parts["rejected"].append({"path": item.origin, "reason": reason})
            continue
        parts["manifest"].append(row)
        parts["phone_events"] += phones
    for name, schema in SCHEMAS.items():
        write_parquet(folder / f"{name}.parquet", pa.Table.from_pylist(parts[name], schema=schema))


def _refuse_too_many(rejected: Sequence[Rejected], tried: int, share: float, max_rejected: float) -> None:
    examples = "; ".join(f"{item.path}: {item.reason}" for item in rejected[:REASONS_SHOWN])
    if len(rejected) == tried:
        raise DataError(f"no usable utterance among {tried}. {examples}".strip())
    if share > max_rejected:
        raise TooManyRejected(
            f"{len(rejected)} of {tried} utterances cannot be used, a share of {share:.3g} of the corpus, more than "
            f"the allowed {max_rejected:g}. {examples}"
        )


def write_corpus(
    items: Iterable[RawItem | Rejected],
    folder: Path,
    kept: Path,
    *,
    max_utterances: int = 0,
    max_rejected: float = 0.1,
    seed: int = 42,
    workers: int = 1,
) -> Corpus:
    """Write `<speaker>/<chapter>/<utterance>.flac` below `folder`, and return the tables that describe them.

    An utterance that cannot be used is listed with its reason and left out. The outcome does not depend on `workers`.
    Finished shards wait in `kept` until all are done, so that an interrupted run can be continued.
    Raises: `DataError` with counts and the first reasons if more than the share `max_rejected` is rejected.
    """
    accepted, refused = screen(items)
    chosen = sorted(sample(accepted, max_utterances, seed), key=lambda item: item.utterance)
    shards = [chosen[start : start + SHARD_UTTERANCES] for start in range(0, len(chosen), SHARD_UTTERANCES)]
    parts: dict[str, list[pa.Table]] = {name: [schema.empty_table()] for name, schema in SCHEMAS.items()}
    for shard in resumable(_write_shard, shards, _key, kept, workers=workers, description="corpus"):
        take_files(shard / "audio", folder)
        for name, tables in parts.items():
            tables.append(pq.read_table(shard / f"{name}.parquet"))
    table = {name: pa.concat_tables(tables).combine_chunks() for name, tables in parts.items()}
    failed = [Rejected(**row) for row in table["rejected"].to_pylist()]
    rejected = sorted(refused + failed, key=lambda item: (item.path, item.reason))
    # failures of a sample are scaled to all accepted items
    bad = len(refused) + len(failed) * len(accepted) / max(len(chosen), 1)
    share = bad / max(len(accepted) + len(refused), 1)
    _refuse_too_many(rejected, len(chosen) + len(refused), share, max_rejected)
    listed = pd.DataFrame([vars(item) for item in rejected], columns=["path", "reason"])
    return Corpus(table["manifest"], table["phone_events"], listed)
