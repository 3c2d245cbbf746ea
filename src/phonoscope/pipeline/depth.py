"""Stage `depth@<codec>`: one codec probed in depth."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa

from phonoscope import paths
from phonoscope.files import atomic_dir, read_safetensors, write_csv, write_parquet
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.depth_inputs import SampledCodec
from phonoscope.pipeline.tables import read_manifest, read_split
from phonoscope.probes.depth import class_tasks, probe_depth, sample_utterances
from phonoscope.probes.token_frames import read_frames

if TYPE_CHECKING:
    import pandas as pd

    from phonoscope.config.params import Params

COLUMNS = ("utterance", "speaker", "sex", "accent", "word", "text")


@stage(
    "depth",
    per="codecs",
    desc="Sums of layers, latents and controls of one codec, probed in depth",
    params=["depth", "codecs.{item}.kind", "training", "compute.torch_threads", "compute.device"],
)
def run(params: Params, codec: str) -> StageReport:
    """Write metrics/depth/<codec>.csv, metrics/depth_classes/<codec>.csv and data/depth/<codec>/confusion.parquet."""
    manifest, split = read_manifest(), read_split()
    columns = {name: manifest[name].tolist() for name in COLUMNS}
    tensors, _ = read_safetensors(paths.codebooks(codec))
    layers = sum(name.startswith("layer_") for name in tensors)
    books = [tensors[f"layer_{layer}"].numpy() for layer in range(1, layers + 1)]
    wanted = {*class_tasks(params.depth.tasks, params.depth), *params.depth.information}
    paths.STATE.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=paths.STATE, prefix="depth-") as name:
        folder = Path(name)
        frames = read_frames(paths.tokens(codec), columns, sorted(wanted), folder, layers=layers, size=len(books[0]))
        sample = sample_utterances(columns, split, params.depth)
        vectors = SampledCodec(params, codec, manifest, frames, sample).vectors(books, folder)
        workers = params.compute.workers
        result = probe_depth(frames, vectors, columns, split, params.depth, codec=codec, workers=workers)
    write_csv(paths.depth_metrics(codec), result.scores)
    write_csv(paths.depth_classes(codec), result.classes)
    with atomic_dir(paths.depth(codec)) as target:
        write_parquet(
            target / paths.confusion(codec).name, pa.Table.from_pandas(result.confusion, preserve_index=False)
        )
    return _report(result.scores)


def _report(scores: pd.DataFrame) -> StageReport:
    """The linear probes' and the tables' measures by task, input and layer."""
    rows = scores[scores["probe"].isin(["linear", "table"]) & (scores["split"] != "texts")]
    names = rows["task"] + "." + rows["input"] + "." + rows["measure"] + ".layer_" + rows["layer"].astype(str)
    unconverged = float((scores["converged"] == "false").sum())
    return StageReport({"unconverged": unconverged, **dict(zip(names, rows["value"].astype(float), strict=True))})
