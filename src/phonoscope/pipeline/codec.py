"""Stage `codec`: load, train or adapt one codec and write its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from phonoscope import paths
from phonoscope.codecs.base import bitrate_bps
from phonoscope.codecs.checkpoints import open_codec, save_codec
from phonoscope.codecs.train import CURVE_COLUMNS, Clips, CodecTrainer
from phonoscope.compute import setup_torch
from phonoscope.errors import DataError, ParamsError
from phonoscope.files import atomic_dir, write_csv
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.speech import waveforms
from phonoscope.pipeline.tables import read_aligned_manifest, read_split
from phonoscope.pipeline.teacher import teacher_features

if TYPE_CHECKING:
    from phonoscope.config.params import Params


@stage(
    "codec",
    per="codecs",
    desc="Load, train or adapt one codec",
    params=[
        "codecs.{item}",
        "training",
        "corpus.source",
        "whisper.checkpoint",
        "compute.torch_threads",
        "compute.device",
    ],
)
def run(params: Params, codec: str) -> StageReport:
    """Write `models/codecs/<codec>` and its training curve, which is empty for a codec that is only loaded."""
    config, steps = params.codec(codec), params.adapt_steps(codec)
    device = setup_torch(params.compute, params.training.seed)
    model = open_codec(codec, config)
    model.model.to(device)
    scratch = config.checkpoint == "scratch"
    if steps and config.kind == "transformers":
        raise ParamsError(f"codecs.{codec}.adapt_steps: only the packages' own classes can be trained; set it to 0")
    curve = pd.DataFrame(columns=list(CURVE_COLUMNS))
    if config.untrained:
        CodecTrainer(model, params.training).start(_clips(params, codec, model))
    if scratch or steps:
        clips = _clips(params, codec, model)
        parts = []
        if scratch:
            trainer = CodecTrainer(model, params.training, distill=config.distill)
            trainer.train(clips)
            parts.append(trainer.curve_frame())
        if steps:
            # the head that leads a new model out of silence would only disturb a trained one
            adapting = params.training.model_copy(update={"latent_mel_weight": 0.0})
            trainer = CodecTrainer(model, adapting, distill=config.distill)
            trainer.run(clips, 0, steps, params.training.adapt_lr, quantized=True)
            parts.append(trainer.curve_frame())
        curve = pd.concat(parts)
    with atomic_dir(paths.codec_model(codec)) as folder:
        save_codec(model, config.kind, folder)
    write_csv(paths.codec_metrics(codec), curve)
    size = sum(parameter.numel() for parameter in model.model.parameters())
    return StageReport(metrics={"bitrate_bps": bitrate_bps(model), "parameters": float(size), "steps": float(steps)})


def _clips(params: Params, codec: str, model: Any) -> Clips:
    """Clips of the corpus's train split, with the teacher's features where the codec is distilled."""
    training = params.training
    audio = waveforms(read_aligned_manifest(), read_split()["train"], model.sample_rate)
    frames = round(training.clip_s * model.sample_rate / model.hop_length)
    teacher = None
    if params.codec(codec).distill and not params.codec(codec).untrained:
        from phonoscope.whisper.model import load_whisper

        teacher = teacher_features(load_whisper(params.whisper.checkpoint), audio, training.teacher_layer)
        width = model.architecture()["semantic_dimension"]
        if teacher[0].shape[1] != width:
            raise DataError(
                f"codecs.{codec}: the checkpoint is distilled to {width} dimensions, whisper.checkpoint has "
                f"{teacher[0].shape[1]}; choose another Whisper, or set distill: false"
            )
    return Clips(audio, model.hop_length, frames, training.batch_size, training.seed, teacher)
