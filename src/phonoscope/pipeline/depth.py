"""Stage `depth@<codec>`: sums of layers, latents and controls of one codec, probed in depth."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.files import atomic_dir, write_csv, write_parquet
from phonoscope.pipeline.base import StageReport, stage


@stage(
    "depth", per="codecs", params=["depth", "codecs.{item}.kind", "training", "compute.torch_threads", "compute.device"]
)
def run(params: Params, codec: str) -> StageReport:
    """Write metrics/depth/<codec>.csv, metrics/depth_classes/<codec>.csv and data/depth/<codec>/confusion.parquet."""
    import pyarrow as pa

    from phonoscope.pipeline.depth_inputs import depth_inputs
    from phonoscope.probes import run_probes

    config, workers = params.depth, params.compute.workers
    posed, sample, inputs = depth_inputs(params, codec)
    result = run_probes(posed, inputs, config, codec=codec, sample=sample, workers=workers)
    write_csv(paths.depth_metrics(codec), result.table)
    write_csv(paths.depth_classes(codec), result.classes)
    with atomic_dir(paths.depth(codec)) as target:
        table = pa.Table.from_pandas(result.confusion, preserve_index=False)
        write_parquet(target / paths.confusion(codec).name, table)
    scores = result.table
    rows = scores[scores["probe"].isin(["linear", "table"]) & (scores["split"] != "texts")]
    names = rows["task"] + "." + rows["input"] + "." + rows["measure"] + ".layer_" + rows["layer"].astype(str)
    unconverged = float((scores["converged"] == "false").sum())
    return StageReport({"unconverged": unconverged, **dict(zip(names, rows["value"].astype(float), strict=True))})
