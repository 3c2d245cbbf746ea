"""Stage `compare`: all codecs side by side in tables, figures, verdicts and words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.compute import derive_seed
from phonoscope.drawing import png
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir, atomic_file, read_safetensors, write_csv
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_table
from phonoscope.probes.scores import draw_resamples
from phonoscope.probes.store import TaskResult
from phonoscope.report.answer import answer
from phonoscope.report.comparison import TASKS, combine, markdown_tables
from phonoscope.report.expectations import expectations
from phonoscope.report.figures import draw_task
from phonoscope.report.twins import Twins, headline, pair_layers, twin_pairs, twin_table

if TYPE_CHECKING:
    import pandas as pd

    from phonoscope.config.params import Params


@stage(
    "compare",
    desc="All codecs side by side, in tables, figures and words",
    params=["codecs", "probe.bootstrap", "probe.matched_dims", "probe.seed"],
)
def run(params: Params) -> StageReport:
    """Write metrics/compare (tables, and the answer in words) and plots/compare (a figure a task)."""
    codecs, confidence = list(params.codecs), params.probe.bootstrap.confidence
    table = combine({codec: read_table(paths.probe_metrics(codec), f"probe@{codec}") for codec in codecs})
    tasks = [task for task in TASKS if (table["task"] == task).any()]
    twins = twin_table(_twins(params, table), confidence)
    utterances = len(_task(*table.loc[0, ["codec", "task"]]).utterances)
    frames = {"probes": table, "twins": twins, "expectations": expectations(table, twins)}
    texts = {
        "answer": answer(table, twins, utterances=utterances, confidence=confidence),
        "table": markdown_tables(table),
    }
    dims, reduced = {codec: _dims(codec) for codec in codecs}, params.probe.matched_dims
    images = {
        task: png(draw_task(table, task, dims=dims, matched_dims=reduced, confidence=confidence)) for task in tasks
    }
    for name, frame in frames.items():
        write_csv(paths.COMPARISON / f"{name}.csv", frame)
    for name, text in texts.items():
        with atomic_file(paths.COMPARISON / f"{name}.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
    with atomic_dir(paths.COMPARISON_PLOTS) as folder:
        for task, image in images.items():
            (folder / f"{task}.png").write_bytes(image)
    return StageReport(headline(twins), figures=[paths.COMPARISON_PLOTS / f"{task}.png" for task in tasks])


def _task(codec: str, task: str) -> TaskResult:
    return TaskResult.from_tensors(*read_safetensors(paths.probes(codec) / f"{task}.safetensors"))


def _dims(codec: str) -> int:
    """Effective dimension of the rows: that of the raw vectors, which a projection may widen but not enrich."""
    tensors, _ = read_safetensors(paths.codebooks(codec))
    return int(tensors["raw_1"].shape[1])


def _twins(params: Params, table: pd.DataFrame) -> Iterator[Twins]:
    posed = {tuple(row) for row in table[["codec", "task"]].drop_duplicates().to_numpy()}
    seed = derive_seed(params.probe.seed, "bootstrap")
    for pair in twin_pairs(list(params.codecs)):
        for task in [task for task in TASKS if all((codec, task) in posed for codec in pair)]:
            first, second = (_task(codec, task) for codec in pair)
            if first.utterances != second.utterances:
                raise DataError(f"{' and '.join(pair)} were probed on different utterances; run `dvc repro compare`")
            resamples = draw_resamples(len(first.utterances), params.probe.bootstrap.samples, seed)
            yield from pair_layers(pair[0], task, first.statistics, second.statistics, resamples)
