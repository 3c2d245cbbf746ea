"""Stage `compare`: linear probes of all codecs side by side: tables, verdicts and figures."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage("compare", params=["codecs", "probe.confidence"])
def run(params: Params) -> StageReport:
    """Write metrics/compare (probes, distillation, verdicts; table.md) and plots/compare (a figure a task)."""
    from phonoscope.data import Codebooks
    from phonoscope.files import read_safetensors
    from phonoscope.pipeline.tables import read_table, write_report
    from phonoscope.probes.store import TaskResult
    from phonoscope.report import probes, summary

    codecs, confidence = list(params.codecs), params.probe.confidence
    table = probes.table({codec: read_table(paths.probe_metrics(codec), f"probe@{codec}") for codec in codecs})
    keys = table[["codec", "task"]].drop_duplicates().itertuples(index=False, name=None)
    files = {(codec, task): paths.probes(codec) / f"{task}.safetensors" for codec, task in keys}
    results = {key: TaskResult.from_tensors(*read_safetensors(file)) for key, file in files.items()}
    distilled = probes.distillation(results, confidence)
    judged = probes.verdicts(table, results, distilled, confidence)
    # effective dimension of the rows: that of the raw vectors, which a projection may widen but not enrich
    dims = {codec: Codebooks.load(paths.codebooks(codec)).raw[0].shape[1] for codec in codecs}
    figures = {
        task: probes.draw(
            table,
            task,
            dims=dims,
            confidence=confidence,
            utterances=len(next(result.utterances for (_, name), result in results.items() if name == task)),
        )
        for task in dict.fromkeys(table["task"])
    }
    tables = {"probes": table, "distillation": distilled, "verdicts": judged}
    text = probes.markdown_tables(table, judged)
    images = write_report(paths.COMPARISON, tables, text, paths.COMPARISON_PLOTS, figures)
    return StageReport(summary.distillation_headline(distilled), figures=images)
