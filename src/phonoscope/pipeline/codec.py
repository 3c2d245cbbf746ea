"""Stage `codec`: load, train or adapt one codec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.codecs.clips import Clips


@stage(
    "codec",
    per="codecs",
    params=[
        *("codecs.{item}", "training", "corpus.source", "whisper.checkpoint"),
        *("compute.torch_threads", "compute.device"),
    ],
)
def run(params: Params, codec: str) -> StageReport:
    """Write `models/codecs/<codec>` and its training curve, which is empty for a codec that is only loaded."""
    from phonoscope.codecs.base import bitrate_bps
    from phonoscope.codecs.checkpoints import open_codec, save_codec
    from phonoscope.codecs.train import train_codec
    from phonoscope.compute import setup_torch
    from phonoscope.files import atomic_dir, write_csv

    config, steps = params.codec(codec), params.adapt_steps(codec)
    device = setup_torch(params.compute, params.training.seed)
    model = open_codec(codec, config)
    model.model.to(device)
    learns = config.untrained or config.checkpoint == "scratch" or steps > 0
    curve = train_codec(model, config, params.training, _clips(params, codec, model) if learns else None, steps)
    with atomic_dir(paths.codec_model(codec)) as folder:
        save_codec(model, config.kind, folder)
    write_csv(paths.codec_metrics(codec), curve)
    size = float(sum(parameter.numel() for parameter in model.model.parameters()))
    return StageReport({"bitrate_bps": bitrate_bps(model), "parameters": size, "steps": float(steps)})


def _clips(params: Params, codec: str, model: Any) -> Clips:
    """Clips of the corpus's train split, with the teacher's features if the codec is distilled."""
    from phonoscope.codecs.clips import Clips, teacher_features
    from phonoscope.data import Manifest, Split
    from phonoscope.pipeline.speech import waveforms

    audio = waveforms(Manifest.load(paths.MANIFEST), Split.load(paths.SPLIT).train, model.sample_rate)
    teacher = None
    if params.codec(codec).distill and not params.codec(codec).untrained:
        from phonoscope.whisper.model import encoder_features, load_whisper

        whisper, layer = load_whisper(params.whisper.checkpoint), params.training.teacher_layer
        teacher = teacher_features(partial(encoder_features, whisper, layer=layer), audio)
    return Clips.of(model, audio, params.training, teacher)
