"""Stage `features`: Whisper's activations at every site, a row a frame that carries speech."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phonoscope import paths
from phonoscope.compute import parallel_iter
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.whisper import WhisperConfig
from phonoscope.files import atomic_dir, write_csv, write_json
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.features_index import frame_index, token_index
from phonoscope.pipeline.features_io import FRAME_S, read_features, write_index
from phonoscope.pipeline.listening import Utterance, eval_utterances, open_whisper, read_16k, utterances
from phonoscope.whisper.features import Batch, Block, agreement, extract, parts
from phonoscope.whisper.model import WINDOW_S, frame_count
from phonoscope.whisper.sites import find_site
from phonoscope.whisper.transcript import Tokens, tokenize
from phonoscope.whisper.windows import Window, batches, plan_windows, window_audio

if TYPE_CHECKING:
    import pandas as pd

    from phonoscope.config.params import Params
    from phonoscope.whisper.model import Whisper
    from phonoscope.whisper.sites import Site

log = logging.getLogger(__name__)
Shard = tuple[list[Window], dict[int, Utterance]]
"""Windows of one length, and the utterances in them by their numbers."""


@stage(
    "features",
    desc="Whisper's activations at every site",
    params=["whisper", "sae.sites", "compute.torch_threads", "compute.device"],
)
def run(params: Params) -> StageReport:
    """Write data/features/<site> of every site in `sae.sites`, and metrics/features.csv."""
    settings, compute = params.whisper, params.compute
    whisper, spoken = open_whisper(settings.checkpoint, compute), utterances()
    sites = [find_site(whisper, name) for name in params.sae.sites]
    tokens = [tokenize(whisper, utterance.text) for utterance in spoken]
    windows = _windows(spoken, pack=settings.pack, context_s=settings.context_s)
    frames = frame_index(spoken)
    with atomic_dir(paths.FEATURES) as folder:
        stores = []
        for site in sites:
            index = token_index(whisper, spoken, tokens, windows) if site.is_decoder else frames
            stores.append(SiteStore(folder / site.name, whisper, site, spoken, index, settings))
        work = partial(_extract, settings, compute, params.sae.sites)
        shards = _shards(spoken, windows, settings.batch_s)
        workers = compute.workers if whisper.device.type == "cpu" else 1
        for blocks in parallel_iter(work, shards, workers=workers, description="features"):
            for store in stores:
                store.add(blocks[store.site.name])
        for store in stores:
            store.close()
    report = StageReport(metrics=_metrics(params, spoken, windows, workers))
    write_csv(paths.stage_metrics("features"), report.table())
    return report


def _windows(spoken: Sequence[Utterance], *, pack: bool, context_s: float) -> list[Window]:
    lengths, speakers = zip(*((utterance.samples, utterance.speaker) for utterance in spoken), strict=True)
    return plan_windows(lengths, speakers, pack=pack, context_s=context_s)


def _shards(spoken: Sequence[Utterance], windows: Sequence[Window], batch_s: float) -> Iterator[Shard]:
    for batch in batches(windows, batch_s):
        yield batch, {piece.utterance: spoken[piece.utterance] for window in batch for piece in window.pieces}


def _extract(
    settings: WhisperConfig, compute: ComputeConfig, names: Sequence[str], shard: Shard
) -> dict[str, list[Block]]:
    """The activations of one batch of windows at every site."""
    whisper, (windows, spoken) = open_whisper(settings.checkpoint, compute), shard
    audio = [window_audio(window, lambda number: read_16k(spoken[number])) for window in windows]
    texts: list[list[Tokens]] = [
        [tokenize(whisper, spoken[piece.utterance].text) for piece in window.pieces] for window in windows
    ]
    sites = [find_site(whisper, name) for name in names]
    return extract(whisper, sites, Batch(windows, audio, texts), normalize=settings.normalize)


class SiteStore:
    """features.npy and index.parquet of one site; blocks may come in any order."""

    def __init__(
        self,
        folder: Path,
        whisper: Whisper,
        site: Site,
        spoken: Sequence[Utterance],
        index: pd.DataFrame,
        settings: WhisperConfig,
    ) -> None:
        self.folder, self.site, self._index = folder, site, index
        counts = index["utterance"].value_counts().reindex([utterance.name for utterance in spoken], fill_value=0)
        self._starts = np.cumsum([0, *counts])
        rows, width, depth = len(index), whisper.model.config.d_model, parts(whisper, site)
        shape = (rows, depth, width) if depth > 1 else (rows, width)
        log.info("%s: %d rows, %.0f MB", site.name, rows, 2 * np.prod(shape) / 1e6)
        folder.mkdir()
        self._values = np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float16, shape=shape)
        self._mean = np.zeros((rows, depth), dtype=np.float32)
        self._deviation = np.ones((rows, depth), dtype=np.float32)
        self._config = {
            "site": site.name,
            "width": width,
            "rows": rows,
            "parts": depth,
            "layers": list(site.layers),
            "frame_s": FRAME_S,
            "checkpoint": whisper.model_id,
            **settings.model_dump(include={"normalize", "context_s", "pack"}),
        }

    def add(self, blocks: Sequence[Block]) -> None:
        """Put blocks where they belong."""
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
            if len(self.site.layers) == 1:
                index[name] = columns[:, 0]  # of an MLP's two parts neither is normalised
            else:
                for layer, column in zip(self.site.layers, columns.T, strict=True):
                    index[f"{name}_{layer}"] = column
        write_index(self.folder / "index.parquet", index)
        write_json(self.folder / "features.json", self._config)


def _metrics(params: Params, spoken: Sequence[Utterance], windows: Sequence[Window], workers: int) -> dict[str, float]:
    """Sizes, what the windows save, and how far they change the frames of some eval utterances."""
    full = _windows(spoken, pack=False, context_s=WINDOW_S)
    found = {
        "utterances": float(len(spoken)),
        "frames": float(sum(frame_count(utterance.samples) for utterance in spoken)),
        "windows": float(len(windows)),
        "encoded_s": FRAME_S * sum(window.positions for window in windows),
        "encoded_s_full": FRAME_S * sum(window.positions for window in full),
    }
    sites = [name for name in params.sae.sites if not name.startswith("decoder")]
    if params.whisper.compare and sites:
        chosen = set(eval_utterances(params.whisper.compare))
        picked = [window for window in full if spoken[window.pieces[0].utterance] in chosen]
        blocks: dict[str, list[Block]] = {name: [] for name in sites}
        work = partial(_extract, params.whisper, params.compute, sites)
        for found_blocks in parallel_iter(work, _shards(spoken, picked, params.whisper.batch_s), workers=workers):
            for name, more in found_blocks.items():
                blocks[name] += more
        for name in sites:
            found |= _agreement(name, spoken, blocks[name])
    return found


def _agreement(site: str, spoken: Sequence[Utterance], blocks: Sequence[Block]) -> dict[str, float]:
    """How the rows of a site agree with those of the same utterances alone in the full 30 s."""
    features = read_features(site)
    starts = features.starts()
    rows = [np.arange(len(block.values)) + starts[spoken[block.utterance].name] + block.first for block in blocks]
    full = np.concatenate([block.values for block in blocks])
    found = agreement(full.reshape(len(full), -1), features.values[np.concatenate(rows)].reshape(len(full), -1))
    return {f"{site}.window_{name}": value for name, value in found.items()}
