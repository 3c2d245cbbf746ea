"""Stage `probe@<codec>`: tokens and codebooks become the linear decodability of every RVQ layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.files import atomic_dir, read_safetensors, write_csv, write_safetensors
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_manifest, read_split
from phonoscope.probes.run import probe_codec

if TYPE_CHECKING:
    from phonoscope.probes.run import ProbeResult


@stage(
    "probe",
    per="codecs",
    desc="Linear probes over every RVQ layer of one codec",
    params=["probe"],
)
def run(params: Params, codec: str) -> StageReport:
    """Write models/probes/<codec>/<task>.safetensors and metrics/probes/<codec>.csv."""
    split, manifest = read_split(), read_manifest()
    tensors, _ = read_safetensors(paths.codebooks(codec))
    rows = {"sum": "layer", "raw": "raw"}[params.probe.vectors]
    layers = sum(name.startswith("layer_") for name in tensors)
    result = probe_codec(
        paths.tokens(codec),
        [tensors[f"{rows}_{layer}"].numpy() for layer in range(1, layers + 1)],
        split["train"],
        split["eval"],
        dict(zip(manifest["utterance"], manifest["speaker"], strict=True)),
        params.probe,
        codec=codec,
        workers=params.compute.workers,
    )
    with atomic_dir(paths.probes(codec)) as folder:
        for task, found in result.tasks.items():
            write_safetensors(folder / f"{task}.safetensors", *found.to_tensors())
    write_csv(paths.probe_metrics(codec), result.rows)
    return _report(result)


def _report(result: ProbeResult) -> StageReport:
    columns = result.rows.groupby(["task", "metric"], sort=False)["value"]
    unconverged = (result.rows["converged"] == "false").groupby([result.rows["task"], result.rows["layer"]]).any()
    unseen = {f"{task}.unseen_frames": float(sum(found.unseen.values())) for task, found in result.tasks.items()}
    return StageReport(
        metrics={"unconverged_fits": float(unconverged.sum()), **unseen},
        by_layer={f"{task}.{metric}": values.tolist() for (task, metric), values in columns},
    )
