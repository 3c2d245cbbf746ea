"""Tokens, latents and reconstructions of a whole corpus by one codec."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import entropy

from phonoscope.audio import read_audio
from phonoscope.codecs.base import Codec, bitrate_bps, encode, frame_rate_hz
from phonoscope.codecs.quality import clip_quality, quality_table
from phonoscope.compute import limit_threads, parallel_map
from phonoscope.data.codebooks import Codebooks
from phonoscope.data.latents import Latents, mean_latent_table
from phonoscope.data.manifest import Manifest
from phonoscope.data.tokens import Tokens
from phonoscope.files import write_parquet
from phonoscope.shards import resumable, shard_key

SHARD_UTTERANCES = 64
OpenCodec = Callable[[], Codec]  # opens the codec, once a process
_Row = tuple[str, str, str]  # utterance, path, sha256
TOKENS_FILE, CODEBOOKS_FILE, MEANS_FILE = "tokens.parquet", "codebooks.safetensors", "latents.parquet"


def encode_corpus(
    open_codec: OpenCodec,
    manifest: Manifest,
    audio: Path,
    folder: Path,
    kept: Path,
    *,
    weights: Sequence[Path] = (),
    keep_latents: Collection[str] = (),
    name: str = "",
    workers: int = 1,
) -> list[NDArray[np.int64]]:
    """Encode every utterance of a manifest, and write into `folder`: `data.Tokens`, `data.Codebooks`, the time-means of
    all latents (`data.latents.read_mean_latents`) and the frame latents of the utterances `keep_latents`.

    Finished shards wait in `kept`; they are made again if `weights` (files of the codec), `name` or the audio change.
    Returns code counts, [K] a layer.
    """
    codec = open_codec()
    rows = list(zip(*(manifest[column] for column in ("utterance", "path", "sha256")), strict=True))
    shards = [rows[start : start + SHARD_UTTERANCES] for start in range(0, len(rows), SHARD_UTTERANCES)]
    sampled = frozenset(keep_latents)
    work = partial(_encode_shard, open_codec, audio, sampled)
    key = partial(_key, shard_key(name, codec.n_layers, files=weights), sampled)
    means, latents = [], []
    with Tokens.writer(folder / TOKENS_FILE, [codec.codebook_size] * codec.n_layers, frame_rate_hz(codec)) as add:
        for shard in resumable(work, shards, key, kept, workers=workers, description="encode"):
            add(Tokens.load(shard / TOKENS_FILE))
            means.append(pq.read_table(shard / MEANS_FILE))
            latents.append(Latents.load(shard))  # a map of a file that may be deleted while it is open
    write_parquet(folder / MEANS_FILE, pa.concat_tables(means))
    Latents.merge(latents, folder)
    books = codec.codebooks()
    Codebooks.from_arrays(books.vectors, books.raw, frame_rate_hz(codec)).save(folder / CODEBOOKS_FILE, codec=name)
    return Tokens.load(folder / TOKENS_FILE).usage()


def _key(shared: str, sampled: Collection[str], shard: Sequence[_Row]) -> str:
    return shard_key(shared, [(name, sha256, name in sampled) for name, _, sha256 in shard])


def _encode_shard(
    open_codec: OpenCodec, audio: Path, sampled: Collection[str], shard: Sequence[_Row], folder: Path
) -> None:
    codec, codes, latents = open_codec(), {}, {}
    for utterance, path, _ in shard:
        encoded = encode(codec, *read_audio(audio / path))
        codes[utterance] = encoded.codes.cpu().numpy()
        latents[utterance] = encoded.latent.float().cpu().numpy().T
    tokens = Tokens.from_arrays(codes, [codec.codebook_size] * codec.n_layers, frame_rate_hz(codec))
    tokens.save(folder / TOKENS_FILE)
    write_parquet(folder / MEANS_FILE, mean_latent_table(latents))
    Latents.from_arrays({name: latent for name, latent in latents.items() if name in sampled}).save(folder)


def score_codec(
    open_codec: OpenCodec, clips: Sequence[NDArray[np.float32]], counts: Sequence[NDArray[np.int64]], workers: int = 1
) -> pd.DataFrame:
    """Bit rate, code usage and reconstruction quality: layer (0 for the whole codec), metric, value, n.

    clips: audio at the codec's rate, [T] each. counts: how often each code of each layer occurs, [K] a layer.
    """
    scores = parallel_map(partial(_score, open_codec), clips, workers=workers, description="reconstruct")
    usage = usage_table(counts)
    bitrate = usage.iloc[:1].assign(layer=0, metric="bitrate_bps", value=bitrate_bps(open_codec()))
    return pd.concat([bitrate, usage, quality_table(scores)], ignore_index=True)


def _score(open_codec: OpenCodec, samples: NDArray[np.float32]) -> list[tuple[int, str, float | None]]:
    with limit_threads():  # a process of its own has one thread, and sums of several differ in their last bits
        return clip_quality(open_codec(), samples)


def usage_table(counts: Sequence[NDArray[np.int64]]) -> pd.DataFrame:
    """Perplexity, normalised entropy and used codes of every layer: layer, metric, value, n (frames)."""
    rows = []
    for layer, uses in enumerate(counts, start=1):
        nats, frames = float(entropy(uses)), int(uses.sum())
        rows += [
            (layer, "perplexity", float(np.exp(nats)), frames),
            (layer, "normalised_entropy", nats / np.log(len(uses)), frames),
            (layer, "used_codes", float((uses > 0).sum()), frames),
        ]
    return pd.DataFrame(rows, columns=["layer", "metric", "value", "n"])
