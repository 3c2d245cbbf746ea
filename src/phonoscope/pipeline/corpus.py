"""Stage `corpus`: speech from a source, as FLAC with a manifest."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, named_parameters, stage


@stage("corpus", params=["corpus"], folders=lambda params: ["corpus.root"])
def run(params: Params) -> StageReport:
    """Write the FLAC files, manifest.parquet, phone_events.parquet and rejected.csv, all or nothing."""
    from phonoscope.corpus.build import write_corpus
    from phonoscope.corpus.registry import open_source
    from phonoscope.files import atomic_dir, write_csv, write_parquet

    config = params.corpus
    with named_parameters("corpus"), atomic_dir(paths.CORPUS) as folder:
        corpus = write_corpus(
            *(open_source(config), folder, paths.shards("corpus")),
            max_utterances=config.max_utterances,
            max_rejected=config.max_rejected,
            seed=config.seed,
            workers=params.compute.workers,
        )
        write_parquet(folder / paths.MANIFEST.name, corpus.manifest)
        write_parquet(folder / paths.PHONE_EVENTS.name, corpus.phone_events)
        write_csv(folder / paths.REJECTED.name, corpus.rejected)
    manifest = corpus.manifest.to_pandas()
    metrics = {
        "utterances": len(manifest),
        "speakers": manifest["speaker"].nunique(),
        "duration_min": manifest["duration_s"].sum() / 60,
        "rejected": len(corpus.rejected),
    }
    return StageReport(metrics).saved(paths.stage_metrics("corpus"))
