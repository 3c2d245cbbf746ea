"""Stage `probe@<codec>`: linear probes over every RVQ layer of one codec."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.files import atomic_dir, write_csv, write_safetensors
from phonoscope.pipeline.base import StageReport, named_parameters, stage


@stage("probe", per="codecs", params=["probe"])
def run(params: Params, codec: str) -> StageReport:
    """Write models/probes/<codec>/<task>.safetensors and metrics/probes/<codec>.csv."""
    from phonoscope.data import Codebooks, Labels, Manifest, Split, Tokens
    from phonoscope.probes import probe_tokens
    from phonoscope.probes.tasks import configured_tasks

    config, books = params.probe, Codebooks.load(paths.codebooks(codec))
    with named_parameters("probe"):  # refuses an unknown task at once
        configured_tasks(config)
    result = probe_tokens(
        Tokens.load(paths.tokens(codec)),
        books.vectors if config.vectors == "sum" else books.raw,
        Labels.load(paths.ALIGNMENTS),
        Manifest.load(paths.MANIFEST),
        Split.load(paths.SPLIT),
        config,
        codec=codec,
        workers=params.compute.workers,
    )
    with atomic_dir(paths.probes(codec)) as folder:
        for task, probes in result.tasks.items():
            write_safetensors(folder / f"{task}.safetensors", *probes.to_tensors())
    write_csv(paths.probe_metrics(codec), result.table)
    rows = result.table[(result.table["input"] == "layer") & (result.table["probe"] == "linear")]
    scores = rows.groupby(["task", "measure"], sort=False)["value"]
    unconverged = result.table.loc[result.table["converged"] == "false", ["task", "layer"]].drop_duplicates()
    unseen = {f"{name}.unseen_frames": float(sum(task.unseen.values())) for name, task in result.tasks.items()}
    return StageReport(
        metrics={"unconverged_fits": float(len(unconverged)), **unseen},
        by_layer={f"{task}.{measure}": values.tolist() for (task, measure), values in scores},
    )
