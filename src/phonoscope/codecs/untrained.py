"""A codec's class with random weights, as a control: its tokens know the audio, but nothing was learnt from speech."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from phonoscope.audio import read_audio, resample
from phonoscope.codecs.base import device_of, encode
from phonoscope.codecs.checkpoints import load_codec, random_codec, save_codec
from phonoscope.codecs.clips import Clips
from phonoscope.codecs.start import scale_encoder, start_codebooks
from phonoscope.compute import derive_seed, parallel_map, setup_torch
from phonoscope.data import Latents
from phonoscope.stats import evenly_spaced

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.codecs import TrainingConfig
    from phonoscope.config.compute import ComputeConfig

START_LATENTS = 8_192  # that the k-means start of the codebooks sees
START_UTTERANCES = 64  # that the scale of the layers is set by


def untrained_codes(
    trained: Path,
    kind: str,
    files: Mapping[str, Path],
    training: TrainingConfig,
    compute: ComputeConfig,
    *,
    layers: int,
    seed: int,
) -> tuple[dict[str, NDArray[np.int16]], list[NDArray[Any]]]:
    """Codes [L, F] of audio files by name, and one codebook [K, D] a layer, of a codec with random weights.

    It has the architecture of the codec in the folder `trained`. Its layers are scaled by the data as before a first
    training step, its codebooks set by k-means.
    """
    setup_torch(compute, derive_seed(seed, "untrained"))
    architecture = load_codec(trained, layers).architecture()
    model = random_codec(kind, layers, architecture)
    names = list(files)[:: max(1, len(files) // START_UTTERANCES)]
    audio = [resample(*read_audio(files[name]), model.sample_rate) for name in names]
    scale_encoder(model, Clips.of(model, audio, training))
    with TemporaryDirectory(prefix="phonoscope-untrained-") as folder:
        save_codec(model, kind, Path(folder))  # worker processes open it from there
        latents = _latents(Path(folder), files, compute, layers)
    chosen = evenly_spaced(len(latents.values), START_LATENTS, "floor")
    start_codebooks(model, torch.from_numpy(latents.values[chosen]), derive_seed(seed, "kmeans"))
    with torch.inference_mode():
        codes = {
            name: model.quantize(torch.from_numpy(latents[name].T[None].copy()))[0].numpy().astype(np.int16)
            for name in latents.utterances
        }
    return codes, [book.numpy() for book in model.codebooks().vectors]


def _latents(folder: Path, files: Mapping[str, Path], compute: ComputeConfig, layers: int) -> Latents:
    weights = folder.resolve()  # a worker that is kept from an earlier call may have another working directory
    workers = compute.workers if device_of(_model(weights, layers, compute)).type == "cpu" else 1
    work = partial(_latent, weights, layers, compute)
    latents = parallel_map(work, list(files.values()), workers=workers, description="latents")
    return Latents.from_arrays(dict(zip(files, latents, strict=True)))


@lru_cache(maxsize=1)
def _model(folder: Path, layers: int, compute: ComputeConfig) -> Any:
    """A codec on its device, loaded once a process."""
    device, codec = setup_torch(compute, 0), load_codec(folder, layers)
    codec.model.to(device)
    return codec


def _latent(folder: Path, layers: int, compute: ComputeConfig, file: Path) -> NDArray[np.float32]:
    """The latent of one file, [frames, dims]."""
    return encode(_model(folder, layers, compute), *read_audio(file)).latent.T.float().cpu().numpy()
