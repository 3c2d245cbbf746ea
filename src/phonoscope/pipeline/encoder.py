"""Stage `encoder@<input>`: audio encoders on codec codes or mel frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.encoders.audio import InputKind


@stage("encoder", per=["codes", "mel"], params=["encoder", "compute.torch_threads", "compute.device"])
def run(params: Params, item: InputKind) -> StageReport:
    """Write models/encoders/<input>, metrics/encoders/<input>.csv and its training curves."""
    import pandas as pd

    from phonoscope.encoders.measures import TR_FRAMES, size
    from phonoscope.encoders.study import hits_table, score_table, train_encoders
    from phonoscope.encoders.windows import MEL_FRAME_RATE_HZ
    from phonoscope.files import atomic_dir, write_csv, write_json, write_safetensors
    from phonoscope.pipeline.windows import read_codebooks, read_windows

    config = params.encoder
    train, evaluation = read_windows(item, config, params.compute.workers)
    books = read_codebooks(config.codec, config.layers)
    trained = train_encoders(item, [None], train, evaluation, books, config, params.compute)[None]
    with atomic_dir(paths.encoder(item)) as folder:
        for seed, result in enumerate(trained):
            tensors = result.model.cpu().state_dict()
            write_safetensors(folder / f"seed_{seed}.safetensors", tensors, {"classes": train.classes})
        settings = config.model_dump(mode="json")
        write_json(folder / "config.json", {"input": item, "channels": train.x.shape[1], **settings})
        write_csv(folder / "hits.csv", hits_table(item, trained))
    frames = TR_FRAMES if item == "codes" else round(config.tr_s * MEL_FRAME_RATE_HZ)
    sizes = size(trained[0].model.encoder, frames)
    write_csv(paths.encoder_metrics(item), score_table(item, trained, sizes))
    curves = [result.curve.assign(seed=seed) for seed, result in enumerate(trained)]
    write_csv(paths.encoder_training(item), pd.concat(curves))
    means = pd.DataFrame([result.scores for result in trained]).mean()
    return StageReport(
        metrics={
            **{str(name): float(value) for name, value in means.items()},
            **{name: float(count) for name, count in sizes.items()},
        }
    )
