"""Stage `encode`: one codec's tokens, codebooks and reconstruction quality."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from phonoscope import paths
from phonoscope.alignment.textgrid import read_textgrid
from phonoscope.audio import read_audio, resample
from phonoscope.codecs.base import bitrate_bps, device_of, encode_batch, frame_rate_hz
from phonoscope.codecs.checkpoints import load_codec
from phonoscope.codecs.quality import clip_quality, quality_table
from phonoscope.compute import parallel_map, setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.data.labels import frame_labels, sample_f0
from phonoscope.files import atomic_dir, write_csv, write_parquet, write_safetensors
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.speech import waveforms
from phonoscope.pipeline.tables import read_aligned_manifest, read_split
from phonoscope.shards import resumable, shard_key
from phonoscope.tokens.encode import (
    EncodedUtterance,
    code_statistics,
    code_usage,
    latent_table,
    spread,
    token_schema,
    token_table,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.params import Params

SHARD_UTTERANCES = 64
Shard = tuple[pd.DataFrame, pd.DataFrame]
"""Rows of the manifest, and the F0 tracks of their utterances."""


class AlignedLabels:
    """Frame labels of some utterances, from their TextGrids and F0 tracks (utterance, time_s, f0_hz)."""

    def __init__(self, manifest: pd.DataFrame, tracks: pd.DataFrame) -> None:
        self._grids = {
            row.utterance: (paths.ALIGNMENTS / str(row.path)).with_suffix(".TextGrid") for row in manifest.itertuples()
        }
        self._tracks = {
            str(name): (rows["time_s"].to_numpy(np.float64), rows["f0_hz"].to_numpy(np.float32))
            for name, rows in tracks.groupby("utterance", observed=True, sort=False)
        }

    def phones(self, utterance: str, n_frames: int, frame_rate_hz: float) -> list[str]:
        """The phone that overlaps each frame most, [n_frames]."""
        intervals = read_textgrid(self._grids[utterance], stress="keep").phones
        return [str(label) for label in frame_labels(intervals, n_frames, frame_rate_hz)]

    def f0_hz(self, utterance: str, n_frames: int, frame_rate_hz: float) -> NDArray[np.float32]:
        """F0 at each frame's exact centre, [n_frames], NaN where unvoiced."""
        return sample_f0(*self._tracks[utterance], (np.arange(n_frames, dtype=np.float64) + 0.5) / frame_rate_hz)


@stage(
    "encode",
    per="codecs",
    desc="Tokens, codebooks and reconstruction quality of one codec",
    params=["encode", "codecs.{item}.layers", "compute.torch_threads", "compute.device", "training.seed"],
)
def run(params: Params, codec: str) -> StageReport:
    """Write tokens.parquet, latents.parquet and codebooks.safetensors of every aligned utterance, and the metrics."""
    _model.cache_clear()
    open_model = partial(_model, codec, params.codec(codec).layers, params.compute, params.training.seed)
    model, manifest = open_model(), read_aligned_manifest()
    workers = params.compute.workers if device_of(model).type == "cpu" else 1
    with atomic_dir(paths.tokens_dir(codec)) as folder:
        counts = np.zeros((model.n_layers, model.codebook_size), dtype=np.int64)
        key = shard_key(codec, params.codec(codec).layers, files=_weights(codec))
        work = resumable(
            partial(_encode_shard, open_model),
            _shards(manifest),
            partial(_key, key),
            paths.shards("encode", codec),
            workers=workers,
            description="encode",
        )
        with pq.ParquetWriter(
            folder / paths.tokens(codec).name, token_schema(model.n_layers), compression="zstd"
        ) as file:
            latents = []
            for shard in work:
                table = pq.read_table(shard / "tokens.parquet")
                file.write_table(table, row_group_size=table.num_rows)  # a row group never splits an utterance
                counts += code_usage(table, *counts.shape)
                latents.append(pq.read_table(shard / "latents.parquet"))
        write_parquet(folder / paths.latents(codec).name, pa.concat_tables(latents))
        _write_codebooks(model, codec, folder / paths.codebooks(codec).name)
    chosen = spread(read_split()["eval"], params.encode.reconstructions)
    clips = waveforms(manifest, chosen, model.sample_rate)
    scores = parallel_map(partial(_score, open_model), clips, workers=workers, description="reconstruct")
    bitrate = {"layer": 0, "metric": "bitrate_bps", "value": bitrate_bps(model), "n": int(counts.sum(axis=1)[0])}
    parts = [pd.DataFrame([bitrate]), code_statistics(counts), quality_table(scores)]
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "codec", codec)
    write_csv(paths.encode_metrics(codec), table)
    return _report(table)


@lru_cache(maxsize=1)
def _model(codec: str, layers: int, compute: ComputeConfig, seed: int) -> Any:
    """The codec on its device, loaded once a process."""
    device = setup_torch(compute, seed)
    model = load_codec(paths.codec_model(codec), layers)
    model.model.to(device)
    return model


def _weights(codec: str) -> list[Path]:
    return sorted(path for path in paths.codec_model(codec).iterdir() if path.is_file())


def _shards(manifest: pd.DataFrame) -> Iterator[Shard]:
    """Groups of utterances with their F0 tracks."""
    tracks = pd.read_parquet(paths.F0_TRACKS)
    groups = dict(iter(tracks.groupby("utterance", observed=True, sort=False)))
    for start in range(0, len(manifest), SHARD_UTTERANCES):
        rows = manifest.iloc[start : start + SHARD_UTTERANCES]
        yield rows, pd.concat([groups[name] for name in rows["utterance"]])


def _key(shared: str, shard: Shard) -> str:
    """`shared` is the key of what all shards rest on."""
    rows, tracks = shard
    grids = [(paths.ALIGNMENTS / path).with_suffix(".TextGrid") for path in rows["path"]]
    digest = hashlib.sha256(pd.util.hash_pandas_object(tracks, index=False).to_numpy().tobytes()).hexdigest()
    return shard_key(shared, rows["utterance"].tolist(), rows["sha256"].tolist(), digest, files=grids)


def _encode_shard(open_model: Callable[[], Any], shard: Shard, folder: Path) -> None:
    """Write `tokens.parquet` of some utterances, and `latents.parquet` with their mean latents."""
    model, (manifest, tracks) = open_model(), shard
    labels, rate = AlignedLabels(manifest, tracks), frame_rate_hz(model)
    tables, means = [], {}
    for row in manifest.to_dict("records"):
        samples, native = read_audio(paths.CORPUS / row["path"])
        audio = torch.from_numpy(resample(samples, native, model.sample_rate))[None]
        with torch.inference_mode():
            codes, latent = (part[0].cpu().numpy() for part in encode_batch(model, audio.to(device_of(model))))
        tables.append(token_table(EncodedUtterance(row["utterance"], codes.astype(np.int16)), labels, rate))
        means[row["utterance"]] = latent
    write_parquet(folder / "tokens.parquet", pa.concat_tables(tables).unify_dictionaries())
    write_parquet(folder / "latents.parquet", latent_table(means))


def _score(open_model: Callable[[], Any], samples: NDArray[np.float32]) -> list[tuple[int, str, float | None]]:
    return clip_quality(open_model(), samples)


def _write_codebooks(model: Any, codec: str, path: Path) -> None:
    books = model.codebooks()
    tensors = {f"layer_{index}": rows for index, rows in enumerate(books.vectors, start=1)}
    tensors |= {f"raw_{index}": rows.clone() for index, rows in enumerate(books.raw, start=1)}
    write_safetensors(path, tensors, {"codec": codec, "frame_rate_hz": frame_rate_hz(model), "layers": model.n_layers})


def _report(table: pd.DataFrame) -> StageReport:
    """Headline: all layers kept. By layer: perplexity, used codes and quality by number of layers kept."""
    layered = table[table["layer"] > 0]
    by_layer = {
        str(metric): [float(value) for value in rows.sort_values("layer")["value"]]
        for metric, rows in layered.groupby("metric")
    }
    shown = ("si_sdr_db", "mel_distance_db", "stoi")
    headline: dict[str, float] = {name: by_layer[name][-1] for name in shown if name in by_layer}
    return StageReport(metrics={"bitrate_bps": float(table["value"].iloc[0]), **headline}, by_layer=by_layer)
