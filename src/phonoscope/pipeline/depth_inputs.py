"""Latents of sampled utterances before quantization, and the codes of the same codec with random weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from phonoscope import paths
from phonoscope.audio import read_audio, resample
from phonoscope.codecs.base import device_of
from phonoscope.codecs.checkpoints import load_codec, random_codec, save_codec
from phonoscope.codecs.clips import Clips
from phonoscope.codecs.registry import codec_kind
from phonoscope.codecs.start import scale_encoder, start_codebooks
from phonoscope.compute import derive_seed, parallel_iter, setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.errors import DataError
from phonoscope.pipeline.speech import waveforms
from phonoscope.probes.depth import Vectors

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from phonoscope.config.params import Params
    from phonoscope.probes.token_frames import TokenFrames

log = logging.getLogger(__name__)
START_LATENTS = 8_192
"""Latents that the k-means start of an untrained codec sees."""
START_UTTERANCES = 64
"""Utterances that the scale of its layers is set by."""


class SampledCodec:
    """Runs a codec over the sampled utterances; latents go to memory maps in `folder`, a row a frame of the tokens."""

    def __init__(
        self, params: Params, codec: str, manifest: pd.DataFrame, frames: TokenFrames, sample: NDArray[np.bool_]
    ) -> None:
        self.params, self.codec, self.frames = params, codec, frames
        self.layers = frames.codes.shape[1]
        files = [str((paths.CORPUS / path).resolve()) for path in manifest.loc[sample, "path"]]
        self.rows = manifest[sample].assign(index=np.flatnonzero(sample), file=files)

    def vectors(self, codebooks: list[NDArray[Any]], folder: Path) -> Vectors:
        """Everything that section depth of the parameters asks for."""
        inputs = self.params.depth.inputs
        latent = self._latents(paths.codec_model(self.codec), folder / "latent.bin") if "latent" in inputs else None
        if "untrained" not in inputs:
            return Vectors(codebooks, latent)
        kind = self.params.codec(self.codec).kind
        if not codec_kind(kind).trainable:
            log.warning("%s: left out the untrained codec; one of kind %s cannot be started", self.codec, kind)
            return Vectors(codebooks, latent)
        model = self._untrained()
        save_codec(model, kind, folder / "untrained")
        codes = self._start(model, self._latents(folder / "untrained", folder / "untrained.bin"))
        return Vectors(codebooks, latent, codes, [book.numpy() for book in model.codebooks().vectors])

    def _untrained(self) -> Any:
        """The codec's class with random weights, its layers scaled by the data as before a first training step."""
        setup_torch(self.params.compute, derive_seed(self.params.depth.seed, "untrained"))
        trained = load_codec(paths.codec_model(self.codec), self.layers)
        model = random_codec(self.params.codec(self.codec).kind, self.layers, trained.architecture())
        names = self.rows["utterance"].iloc[:: max(1, len(self.rows) // START_UTTERANCES)]
        audio = waveforms(self.rows, list(names), model.sample_rate)
        scale_encoder(model, Clips.of(model, audio, self.params.training))
        return model

    def _start(self, codec: Any, latent: NDArray[np.float32]) -> NDArray[np.int16]:
        """Set its codebooks by k-means, and quantize: the codes [frames, layers], 0 for utterances not sampled."""
        sampled = np.flatnonzero(np.isin(self.frames.utterances, self.rows["index"]))
        chosen = sampled[np.linspace(0, len(sampled) - 1, min(START_LATENTS, len(sampled))).astype(int)]
        codes = np.zeros(self.frames.codes.shape, dtype=np.int16)
        start_codebooks(codec, torch.from_numpy(latent[chosen]), derive_seed(self.params.depth.seed, "kmeans"))
        with torch.inference_mode():
            for place in self._places().values():
                whole = torch.from_numpy(latent[place].T[None].copy())
                codes[place] = codec.quantize(whole)[0].T.numpy().astype(np.int16)
        return codes

    def _latents(self, model: Path, path: Path) -> NDArray[np.float32]:
        """Latents [frames, dims] of the sampled utterances; the others' rows are never written."""
        folder = model.resolve()  # a worker that is kept from an earlier call may have another working directory
        encode = partial(_encode, folder, self.layers, self.params.compute)
        device = device_of(_model(folder, self.layers, self.params.compute))
        workers = self.params.compute.workers if device.type == "cpu" else 1
        found: Any = None
        places, rows = self._places(), self.rows.to_dict("records")
        for row, latent in zip(rows, parallel_iter(encode, rows, workers=workers, description="latents"), strict=True):
            place = places[row["index"]]
            if found is None:
                shape = len(self.frames.utterances), latent.shape[1]
                found = np.memmap(path, dtype=np.float32, mode="w+", shape=shape)
            if len(latent) != place.stop - place.start:
                raise DataError(
                    f"{row['path']}: {len(latent)} frames, but {place.stop - place.start} in the token table; "
                    f"run `dvc repro encode@{self.codec}`"
                )
            found[place] = latent
        return found

    def _places(self) -> dict[int, slice]:
        """Where the frames of each sampled utterance are, by its index in the manifest."""
        return dict(_runs(self.frames.utterances, set(self.rows["index"])))


def _runs(utterances: NDArray[np.int64], chosen: set[int]) -> Iterator[tuple[int, slice]]:
    bounds = np.flatnonzero(np.diff(utterances)) + 1
    for start, stop in zip([0, *bounds], [*bounds, len(utterances)], strict=True):
        if utterances[start] in chosen:
            yield int(utterances[start]), slice(int(start), int(stop))


@lru_cache(maxsize=1)
def _model(folder: Path, layers: int, compute: ComputeConfig) -> Any:
    """A codec on its device, loaded once a process."""
    device = setup_torch(compute, 0)
    codec = load_codec(folder, layers)
    codec.model.to(device)
    return codec


def _encode(folder: Path, layers: int, compute: ComputeConfig, row: dict[str, Any]) -> NDArray[np.float32]:
    """The latent of one utterance, [frames, dims]; only frames that lie wholly inside the audio."""
    codec = _model(folder, layers, compute)
    samples, native = read_audio(Path(row["file"]))
    audio = torch.from_numpy(resample(samples, native, codec.sample_rate))[None]
    with torch.inference_mode():
        latent = codec.latent(audio[:, None].to(device_of(codec)))[0]
    return latent[:, : audio.shape[-1] // codec.hop_length].T.float().cpu().numpy()
