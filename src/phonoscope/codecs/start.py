"""The start of a codec with random weights: encoder layers scaled by data, codebooks from k-means of latents.

A codec in this state is the untrained control of the probes, whose tokens know the audio though nothing was learnt from
speech, and the point from which a new codec is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from phonoscope.audio import read_audio, resample
from phonoscope.codecs.base import TrainableCodec, device_of, encode
from phonoscope.codecs.checkpoints import load_codec, random_codec, save_codec
from phonoscope.codecs.clips import Clips
from phonoscope.compute import derive_seed, parallel_map, setup_torch
from phonoscope.data import Latents
from phonoscope.stats import evenly_spaced

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.codecs import TrainingConfig
    from phonoscope.config.compute import ComputeConfig

MIN_DEVIATION = 1e-4
SCALING_BATCHES = 4  # of clips, that set the scale of the encoder's layers
START_VECTORS = 24_000  # latents that the k-means start of the codebooks sees
START_LATENTS = 8_192  # the same for `untrained_codes`
START_UTTERANCES = 64  # whose clips set its scale there


def scale_encoder(codec: TrainableCodec, clips: Clips) -> None:
    """Scale every layer of the encoder by the first batches of the clips."""
    audio = torch.cat([clips.draw(step)[0] for step in range(SCALING_BATCHES)]).to(device_of(codec))
    initialise_from_data(codec.model.encoder, audio[:, None], codec.start_deviation)  # type: ignore[arg-type]


def start_codebooks(codec: TrainableCodec, latents: Tensor, seed: int) -> None:
    """Set the codebooks of all layers by k-means of latents [N, D], each layer from the residual of those before."""
    with torch.no_grad():
        # decay and dead-code threshold matter to training only
        codec.quantizer_trainer(decay=0.0, dead_usage=0.0).start(latents, seed)


def latents_of(codec: TrainableCodec, clips: Clips, first_step: int = 0) -> Tensor:
    """About `START_VECTORS` latents [N, D] of the clips that training draws from `first_step` on."""
    codec.model.eval()
    batches = max(1, START_VECTORS // (clips.clip_frames * clips.batch_size))
    with torch.no_grad():
        drawn = (clips.draw(step)[0].to(device_of(codec)) for step in range(first_step, first_step + batches))
        return torch.cat([codec.latent(audio[:, None]).transpose(1, 2).flatten(0, 1) for audio in drawn])


def initialise_from_data(encoder: nn.Module, audio: Tensor, deviation: float) -> None:
    """Give every weight-normalised convolution outputs of zero mean and this standard deviation on audio [B, 1, T].

    Salimans and Kingma (arXiv:1602.07868, section 3). With torch's default start the signal shrinks in every layer, the
    latent hardly depends on the audio, and a small codec decodes silence for its first thousand steps.
    """

    def standardise(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        mean = output.mean(dim=(0, 2))
        # a channel that is constant on these clips would blow up any difference on others
        scale = deviation / output.std(dim=(0, 2)).clamp(min=MIN_DEVIATION)
        module.weight_g.mul_(scale[:, None, None])
        module.bias.copy_((module.bias - mean) * scale)
        # the layers behind this one see the standardised output, so one pass suffices for all
        return (output - mean[None, :, None]) * scale[None, :, None]

    layers = [module for module in encoder.modules() if isinstance(module, nn.Conv1d) and hasattr(module, "weight_g")]
    hooks = [layer.register_forward_hook(standardise) for layer in layers]
    try:
        with torch.no_grad():
            encoder(audio)
    finally:  # a hook that stays would rescale the weights at every later pass
        for hook in hooks:
            hook.remove()


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
    model = random_codec(kind, layers, load_codec(trained, layers).architecture())
    names = list(files)[:: max(1, len(files) // START_UTTERANCES)]
    audio = [resample(*read_audio(files[name]), model.sample_rate) for name in names]
    scale_encoder(model, Clips.of(model, audio, training))
    with TemporaryDirectory(prefix="phonoscope-untrained-") as folder:
        save_codec(model, kind, Path(folder))  # worker processes open it from there
        latents = _latents_of_files(Path(folder), files, compute, layers)
    chosen = evenly_spaced(len(latents.values), START_LATENTS, "floor")
    start_codebooks(model, torch.from_numpy(latents.values[chosen]), derive_seed(seed, "kmeans"))
    with torch.inference_mode():
        codes = {
            name: model.quantize(torch.from_numpy(latents[name].T[None].copy()))[0].numpy().astype(np.int16)
            for name in latents.utterances
        }
    return codes, [book.numpy() for book in model.codebooks().vectors]


def _latents_of_files(folder: Path, files: Mapping[str, Path], compute: ComputeConfig, layers: int) -> Latents:
    weights = folder.resolve()  # a worker that is kept from an earlier call may have another working directory
    workers = compute.workers if device_of(_model(weights, layers, compute)).type == "cpu" else 1
    work = partial(_latent_of_file, weights, layers, compute)
    latents = parallel_map(work, list(files.values()), workers=workers, description="latents")
    return Latents.from_arrays(dict(zip(files, latents, strict=True)))


@lru_cache(maxsize=1)
def _model(folder: Path, layers: int, compute: ComputeConfig) -> Any:
    """A codec on its device, loaded once a process."""
    device, codec = setup_torch(compute, 0), load_codec(folder, layers)
    codec.model.to(device)
    return codec


def _latent_of_file(folder: Path, layers: int, compute: ComputeConfig, file: Path) -> NDArray[np.float32]:
    """The latent of one file, [frames, dims]."""
    return encode(_model(folder, layers, compute), *read_audio(file)).latent.T.float().cpu().numpy()
