"""Activations of whole corpora: every site's features with the labels of every row, written window by window."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phonoscope.compute import parallel_iter
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.sites import Site
from phonoscope.config.whisper import WhisperConfig
from phonoscope.data.features import Features, write_feature_index
from phonoscope.data.labels import TimeLabels
from phonoscope.files import write_json
from phonoscope.whisper.features import Batch, Block, agreement, extract, row_points
from phonoscope.whisper.index import frame_index, token_index
from phonoscope.whisper.model import FRAME_S, WINDOW_S, Whisper, frame_count, open_whisper
from phonoscope.whisper.sites import site_layers
from phonoscope.whisper.transcript import tokenize
from phonoscope.whisper.utterances import Utterance, read_16k
from phonoscope.whisper.windows import Window, batches, plan_windows, window_audio

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
Shard = tuple[list[Window], dict[int, Utterance]]
"""Windows of one length, and their utterances by number."""


@dataclass(frozen=True)
class Collection:
    """Utterances, the sites whose activations are taken, and how."""

    utterances: Sequence[Utterance]
    sites: Sequence[Site]
    settings: WhisperConfig
    compute: ComputeConfig

    @property
    def whisper(self) -> Whisper:
        return open_whisper(self.settings.checkpoint, self.compute)

    def windows(self, *, pack: bool, context_s: float) -> list[Window]:
        """The utterances in windows."""
        lengths, speakers = zip(*((one.samples, one.speaker) for one in self.utterances), strict=True)
        return plan_windows(lengths, speakers, pack=pack, context_s=context_s)

    def blocks(self, windows: Sequence[Window], sites: Sequence[Site]) -> Iterator[dict[Site, list[Block]]]:
        """Activations of windows at sites, batch by batch, spread over the workers."""
        workers = self.compute.workers if self.whisper.device.type == "cpu" else 1
        work = partial(_extract, self.settings, self.compute, sites)
        return parallel_iter(work, self._shards(windows), workers=workers, description="features")

    def _shards(self, windows: Sequence[Window]) -> Iterator[Shard]:
        for batch in batches(windows, self.settings.batch_s):
            numbers = {piece.utterance for window in batch for piece in window.pieces}
            yield batch, {number: self.utterances[number] for number in sorted(numbers)}


def _extract(
    settings: WhisperConfig, compute: ComputeConfig, sites: Sequence[Site], shard: Shard
) -> dict[Site, list[Block]]:
    whisper, (windows, utterances) = open_whisper(settings.checkpoint, compute), shard
    audio = [window_audio(window, lambda number: read_16k(utterances[number])) for window in windows]
    texts = [[tokenize(whisper, utterances[piece.utterance].text) for piece in window.pieces] for window in windows]
    return extract(whisper, sites, Batch(windows, audio, texts), normalize=settings.normalize)


def write_features(collection: Collection, labels: TimeLabels, folder: Path) -> None:
    """Write the features of every site into `folder`/<site>."""
    settings, utterances, whisper = collection.settings, collection.utterances, collection.whisper
    tokens = [tokenize(whisper, utterance.text) for utterance in utterances]
    windows = collection.windows(pack=settings.pack, context_s=settings.context_s)
    frames = frame_index(utterances, labels)
    stores = {}
    for site in collection.sites:
        index = token_index(whisper, utterances, tokens, windows) if site.is_decoder else frames
        stores[site] = _Store(folder / site.name, collection, site, index)
    for blocks in collection.blocks(windows, collection.sites):
        for site, store in stores.items():
            store.add(blocks[site])
    for store in stores.values():
        store.close()


class _Store:
    """Files of one site's features; blocks may come in any order."""

    def __init__(self, folder: Path, collection: Collection, site: Site, index: pd.DataFrame) -> None:
        whisper = collection.whisper
        self._folder, self._index, self._layers = folder, index, site_layers(whisper, site)
        names = [utterance.name for utterance in collection.utterances]
        counts = index["utterance"].value_counts().reindex(names, fill_value=0)
        self._starts = np.cumsum([0, *counts])
        rows, width, depth = len(index), whisper.model.config.d_model, len(row_points(whisper, site))
        shape = (rows, depth, width) if depth > 1 else (rows, width)
        log.info("%s: %d rows, %.0f MB", site.name, rows, 2 * np.prod(shape) / 1e6)
        folder.mkdir()
        # mapped: the activations of a corpus need not fit into memory
        self._values = np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float16, shape=shape)
        self._mean = np.zeros((rows, depth), dtype=np.float32)
        self._deviation = np.ones((rows, depth), dtype=np.float32)
        self._config = {"site": site.name, "layers": list(self._layers), "checkpoint": whisper.model_id}
        self._config |= {"width": width, "rows": rows, "parts": depth, "frame_s": FRAME_S}
        self._config |= collection.settings.model_dump(include={"normalize", "context_s", "pack"})

    def add(self, blocks: Sequence[Block]) -> None:
        """Put blocks into their rows."""
        for block in blocks:
            start = self._starts[block.utterance] + block.first
            where = slice(start, start + len(block.values))
            self._values[where] = block.values
            self._mean[where], self._deviation[where] = block.mean, block.deviation

    def close(self) -> None:
        """Write what is still in memory."""
        self._values.flush()
        index = self._index.copy()
        for name, columns in (("mean", self._mean), ("deviation", self._deviation)):
            if len(self._layers) == 1:
                index[name] = columns[:, 0]  # neither of an MLP's two parts is normalised
            else:
                index[[f"{name}_{layer}" for layer in self._layers]] = columns
        write_feature_index(self._folder / "index.parquet", index)
        write_json(self._folder / "features.json", self._config)


def size_metrics(collection: Collection) -> dict[str, float]:
    """Numbers of utterances, frames and windows, and the seconds that are encoded, also if each had the full 30 s."""
    settings = collection.settings
    windows = collection.windows(pack=settings.pack, context_s=settings.context_s)
    full = collection.windows(pack=False, context_s=WINDOW_S)
    return {
        "utterances": float(len(collection.utterances)),
        "frames": float(sum(frame_count(utterance.samples) for utterance in collection.utterances)),
        "windows": float(len(windows)),
        "encoded_s": FRAME_S * sum(window.positions for window in windows),
        "encoded_s_full": FRAME_S * sum(window.positions for window in full),
    }


def window_metrics(collection: Collection, utterances: Sequence[Utterance], folder: Path) -> dict[str, float]:
    """Agreement of the written encoder rows of some utterances with those of the same utterances in the full 30 s."""
    sites = [site for site in collection.sites if not site.is_decoder]
    if not sites or not utterances:
        return {}
    chosen, spoken = set(utterances), collection.utterances
    full = collection.windows(pack=False, context_s=WINDOW_S)
    windows = [window for window in full if spoken[window.pieces[0].utterance] in chosen]
    taken = list(collection.blocks(windows, sites))
    scores: dict[str, float] = {}
    for site in sites:
        blocks = [block for batch in taken for block in batch[site]]
        features = Features.load(folder / site.name)
        starts = features.starts()
        first = [starts[spoken[block.utterance].name] + block.first for block in blocks]
        rows = np.concatenate([row + np.arange(len(block.values)) for block, row in zip(blocks, first, strict=True)])
        whole = np.concatenate([block.values for block in blocks])
        close = agreement(whole.reshape(len(whole), -1), features.values[rows].reshape(len(whole), -1))
        scores |= {f"{site.name}.window_{name}": value for name, value in close.items()}
    return scores
