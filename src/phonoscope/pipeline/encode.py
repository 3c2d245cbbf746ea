"""Stage `encode`: tokens, codebooks and reconstruction quality of one codec."""

from __future__ import annotations

from functools import partial

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage(
    "encode",
    per="codecs",
    params=["encode", "codecs.{item}.layers", "compute.torch_threads", "compute.device", "training.seed"],
)
def run(params: Params, codec: str) -> StageReport:
    """Write data/tokens/<codec> (tokens, codebooks, latents of every utterance) and metrics/encode/<codec>.csv."""
    from phonoscope.codecs.base import device_of
    from phonoscope.codecs.corpus import encode_corpus, score_codec
    from phonoscope.data import Manifest, Split
    from phonoscope.files import atomic_dir, write_csv
    from phonoscope.pipeline.model import open_model
    from phonoscope.pipeline.speech import waveforms

    open_model.cache_clear()
    open_codec = partial(open_model, codec, params.codec(codec).layers, params.compute, params.training.seed)
    model, manifest, split = open_codec(), Manifest.load(paths.MANIFEST), Split.load(paths.SPLIT)
    workers = params.compute.workers if device_of(model).type == "cpu" else 1
    with atomic_dir(paths.tokens_dir(codec)) as folder:
        counts = encode_corpus(
            open_codec,
            manifest,
            *(paths.CORPUS, folder, paths.shards("encode", codec)),
            weights=sorted(path for path in paths.codec_model(codec).iterdir() if path.is_file()),
            keep_latents=split.sample(params.encode.latents.train, params.encode.latents.eval),
            name=codec,
            workers=workers,
        )
    chosen = split.spaced("eval", params.encode.reconstructions)
    table = score_codec(open_codec, waveforms(manifest, chosen, model.sample_rate), counts, workers)
    table.insert(0, "codec", codec)
    write_csv(paths.encode_metrics(codec), table)
    groups = table[table["layer"] > 0].sort_values("layer").groupby("metric")
    by_layer = {str(metric): rows["value"].astype(float).tolist() for metric, rows in groups}
    headline = {"bitrate_bps": float(table["value"].iloc[0])}  # of all layers
    headline |= {str(name): by_layer[name][-1] for name in ("si_sdr_db", "mel_distance_db", "stoi") if name in by_layer}
    return StageReport(headline, by_layer)
