"""Activations of whole corpora: every site's features with the labels of every row, written window by window."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope.compute import parallel_iter
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.sites import Site
from phonoscope.config.whisper import WhisperConfig
from phonoscope.data.features import Features, write_feature_index
from phonoscope.data.labels import Interval, TimeLabels, frame_labels
from phonoscope.files import write_json
from phonoscope.whisper.features import Block, agreement, extract, row_points, text_spans
from phonoscope.whisper.model import FRAME_S, Whisper, frame_count, open_whisper
from phonoscope.whisper.sites import site_layers
from phonoscope.whisper.transcript import TextTokens, prompt, tokenize
from phonoscope.whisper.utterances import Utterance, Window, batches, plan_windows, read_16k, window_audio

log = logging.getLogger(__name__)
Shard = tuple[Sequence[Window], Mapping[int, Utterance]]  # windows of one length, and their utterances by number


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

    def windows(self, *, full: bool = False) -> list[Window]:
        """The utterances in windows; `full`: each alone in 30 s, as Whisper was trained."""
        lengths, speakers = zip(*((one.samples, one.speaker) for one in self.utterances), strict=True)
        packing = {} if full else self.settings.model_dump(include={"pack", "context_s"})
        return plan_windows(lengths, speakers, **packing)

    def blocks(self, windows: Sequence[Window], sites: Sequence[Site]) -> Iterator[dict[Site, list[Block]]]:
        """Activations of windows at sites, batch by batch, spread over the workers."""
        workers = self.compute.workers if self.whisper.device.type == "cpu" else 1
        work = partial(_extract, self.settings, self.compute, sites)
        shards = (
            (batch, {piece.utterance: self.utterances[piece.utterance] for window in batch for piece in window.pieces})
            for batch in batches(windows, self.settings.batch_s)
        )
        return parallel_iter(work, shards, workers=workers, description="features")


def _extract(
    settings: WhisperConfig, compute: ComputeConfig, sites: Sequence[Site], shard: Shard
) -> dict[Site, list[Block]]:
    whisper, (windows, utterances) = open_whisper(settings.checkpoint, compute), shard
    audio = [window_audio(window, lambda number: read_16k(utterances[number])) for window in windows]
    texts = [[tokenize(whisper, utterances[piece.utterance].text) for piece in window.pieces] for window in windows]
    return extract(whisper, sites, windows, audio, texts, settings.normalize)


def write_features(collection: Collection, labels: TimeLabels, folder: Path) -> None:
    """Write the features of every site into `folder`/<site>."""
    utterances, whisper = collection.utterances, collection.whisper
    tokens = [tokenize(whisper, utterance.text) for utterance in utterances]
    windows = collection.windows()
    frames = pd.concat([frame_index(utterance, labels) for utterance in utterances], ignore_index=True)
    stores = {}
    for site in collection.sites:
        index = token_index(whisper, utterances, tokens, windows) if site.is_decoder else frames
        stores[site] = _Store(folder / site.name, collection, site, index)
    for blocks in collection.blocks(windows, collection.sites):
        for site, store in stores.items():
            store.add(blocks[site])
    for store in stores.values():
        store.close()


def frame_index(utterance: Utterance, labels: TimeLabels) -> pd.DataFrame:
    """A row for every encoder frame of an utterance. `word_index` counts the words of the alignment, -1 outside."""
    frames, alignment = frame_count(utterance.samples), labels.alignment(utterance.name)
    numbered = [word._replace(label=str(index)) for index, word in enumerate(alignment.words)]
    # the gaps between words are intervals too: a frame that is mostly gap belongs to no word
    edges = [Interval(0.0, 0.0, ""), *numbered, Interval(frames * FRAME_S, frames * FRAME_S, "")]
    gaps = [Interval(one.end_s, other.start_s, "-1") for one, other in pairwise(edges) if other.start_s > one.end_s]
    word_index = centred_labels([*numbered, *gaps], frames).astype(np.int16)
    names = np.array([*(word.label for word in alignment.words), ""])  # -1 is the last: no word
    columns = {"phone": centred_labels(alignment.phones, frames), "word": names[word_index], "word_index": word_index}
    return _table(utterance, np.arange(frames), columns)


def centred_labels(intervals: Sequence[Interval], frames: int) -> NDArray[np.str_]:
    """The label that overlaps each Whisper frame most: frame i is centred on 20 i ms, so it starts 10 ms before."""
    half = FRAME_S / 2
    moved = [interval._replace(start_s=interval.start_s + half, end_s=interval.end_s + half) for interval in intervals]
    return frame_labels(moved, frames, 1 / FRAME_S)


def token_index(
    whisper: Whisper, utterances: Sequence[Utterance], tokens: Sequence[TextTokens], windows: Sequence[Window]
) -> pd.DataFrame:
    """A row for every position of the decoder's input: its token as `word`, no phone.

    The prompt belongs to the first utterance of its window. An utterance longer than the window has no rows.
    """
    tables, start = {}, [whisper.tokenizer.decode([token]) for token in prompt(whisper)]
    for window in windows:
        texts = [tokens[piece.utterance] for piece in window.pieces]
        for piece, text, (first, end) in zip(window.pieces, texts, text_spans(whisper, window, texts), strict=True):
            if not piece.whole:
                continue
            lead = end - first - len(text.ids)
            shown = [*start[:lead], *(str(whisper.tokenizer.decode([token])).strip() for token in text.ids)]
            columns = {"phone": "", "word": shown, "word_index": np.array([-1] * lead + [*text.words], dtype=np.int16)}
            tables[piece.utterance] = _table(utterances[piece.utterance], np.arange(first, end), columns)
    return pd.concat([tables[utterance] for utterance in sorted(tables)], ignore_index=True)


def _table(utterance: Utterance, frames: NDArray[np.integer], columns: dict[str, Any]) -> pd.DataFrame:
    same = {name: getattr(utterance, name) for name in ("speaker", "sex", "accent", "split")}
    return pd.DataFrame({"utterance": utterance.name, "frame": frames.astype(np.int32)} | columns | same)


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
        self._config: dict[str, Any] = {"site": site.name, "layers": list(self._layers), "checkpoint": whisper.model_id}
        self._config |= {"width": width, "rows": rows, "parts": depth, "frame_s": FRAME_S}
        self._config |= collection.settings.model_dump(include={"normalize", "context_s", "pack"})

    def add(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            start = self._starts[block.utterance] + block.first
            where = slice(start, start + len(block.values))
            self._values[where] = block.values
            self._mean[where], self._deviation[where] = block.mean, block.deviation

    def close(self) -> None:
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
    windows, full = collection.windows(), collection.windows(full=True)
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
    windows = [window for window in collection.windows(full=True) if spoken[window.pieces[0].utterance] in chosen]
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
