"""Stage `encoder@<input>`: audio encoders on codes or on mel frames, trained to tell the word and the speaker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from phonoscope import paths
from phonoscope.compute import parallel_map
from phonoscope.encoders.measures import TR_FRAMES, input_bytes, parameters
from phonoscope.encoders.study import Job, run_job, seed_interval
from phonoscope.encoders.windows import MEL_FRAME_RATE_HZ
from phonoscope.files import atomic_dir, write_csv, write_json, write_safetensors
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.windows import read_codebooks, read_windows

if TYPE_CHECKING:
    from phonoscope.config.params import Params
    from phonoscope.encoders.audio import InputKind
    from phonoscope.encoders.train import Trained


@stage(
    "encoder",
    per=["codes", "mel"],
    desc="Audio encoders on codec codes or mel frames",
    params=["encoder", "compute.torch_threads", "compute.device"],
)
def run(params: Params, item: InputKind) -> StageReport:
    """Write models/encoders/<input>, metrics/encoders/<input>.csv and its training curves."""
    config = params.encoder
    train, evaluation = read_windows(item, config, params.compute.workers)
    books = read_codebooks(config.codec, config.layers)
    job = partial(run_job, train=train, evaluation=evaluation, codebooks=books, config=config, compute=params.compute)
    trained = parallel_map(
        job, [Job(item, seed) for seed in range(config.seeds)], workers=params.compute.workers, description="seeds"
    )
    with atomic_dir(paths.encoder(item)) as folder:
        for seed, found in enumerate(trained):
            tensors = found.model.cpu().state_dict()
            write_safetensors(folder / f"seed_{seed}.safetensors", tensors, {"classes": train.classes})
        settings = config.model_dump(mode="json")
        write_json(folder / "config.json", {"input": item, "channels": train.x.shape[1], **settings})
    encoder = trained[0].model.encoder
    frames = TR_FRAMES if item == "codes" else round(config.tr_s * MEL_FRAME_RATE_HZ)
    sizes = {"parameters": parameters(encoder), "input_bytes": input_bytes(item, encoder.channels, frames)}
    write_csv(paths.encoder_metrics(item), score_table(item, trained, sizes))
    write_csv(paths.encoder_training(item), pd.concat([t.curve.assign(seed=i) for i, t in enumerate(trained)]))
    means = {metric: seed_interval([t.scores[metric] for t in trained])[0] for metric in trained[0].scores}
    return StageReport(metrics={**means, **{name: float(size) for name, size in sizes.items()}})


def score_table(name: str, trained: list[Trained], sizes: dict[str, int]) -> pd.DataFrame:
    """A row a seed and metric: encoder, seed, metric, value; sizes once, as seed 0's."""
    rows = [(name, seed, metric, value) for seed, t in enumerate(trained) for metric, value in t.scores.items()]
    rows += [(name, 0, metric, float(value)) for metric, value in sizes.items()]
    return pd.DataFrame(rows, columns=["encoder", "seed", "metric", "value"])
