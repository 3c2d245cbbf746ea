"""Stage `codec`: load, train or adapt one codec."""

from __future__ import annotations

from functools import partial

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage

COMPUTE = ("compute.torch_threads", "compute.device")


@stage("codec", per="codecs", params=["codecs.{item}", "training", "corpus.source", "whisper.checkpoint", *COMPUTE])
def run(params: Params, codec: str) -> StageReport:
    """Write `models/codecs/<codec>` and its training curve, which is empty for a codec that is only loaded."""
    from phonoscope.codecs.base import bitrate_bps
    from phonoscope.codecs.checkpoints import open_codec, save_codec
    from phonoscope.codecs.clips import Clips, teacher_features
    from phonoscope.codecs.train import train_codec
    from phonoscope.compute import setup_torch
    from phonoscope.data import Manifest, Split
    from phonoscope.files import atomic_dir, write_csv
    from phonoscope.pipeline.speech import waveforms

    config, steps = params.codec(codec), params.adapt_steps(codec)
    device = setup_torch(params.compute, params.training.seed)
    model = open_codec(codec, config)
    model.model.to(device)
    clips = None
    if config.untrained or config.checkpoint == "scratch" or steps > 0:
        audio = waveforms(Manifest.load(paths.MANIFEST), Split.load(paths.SPLIT).train, model.sample_rate)
        teacher = None
        if config.distill and not config.untrained:
            from phonoscope.whisper.model import encoder_features, load_whisper

            whisper, layer = load_whisper(params.whisper.checkpoint), params.training.teacher_layer
            teacher = teacher_features(partial(encoder_features, whisper, layer=layer), audio)
        clips = Clips.of(model, audio, params.training, teacher)
    curve = train_codec(model, config, params.training, clips, steps)
    with atomic_dir(paths.codec_model(codec)) as folder:
        save_codec(model, config.kind, folder)
    write_csv(paths.codec_metrics(codec), curve)
    size = float(sum(parameter.numel() for parameter in model.model.parameters()))
    return StageReport({"bitrate_bps": bitrate_bps(model), "parameters": size, "steps": float(steps)})
