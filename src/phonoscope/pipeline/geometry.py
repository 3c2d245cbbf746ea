"""Stage `geometry`: isolated words in one codec's space, under several poolings."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.errors import NotApplicable
from phonoscope.pipeline.base import StageReport, stage


@stage("geometry", per="codecs", params=["geometry"])
def run(params: Params, codec: str) -> StageReport:
    """Write data/geometry/<codec> (clips and coordinates, for the figures) and metrics/geometry/<codec>.csv."""
    import pyarrow as pa

    from phonoscope.data import Codebooks, Manifest, Tokens
    from phonoscope.files import atomic_dir, write_csv, write_parquet
    from phonoscope.geometry.jobs import FULL_SPACE
    from phonoscope.geometry.study import study_codec

    manifest, workers = Manifest.load(paths.MANIFEST).table, params.compute.workers
    words = manifest[manifest["word"] != ""].reset_index(drop=True)
    if words["word"].nunique() < 2:
        raise NotApplicable("the corpus has fewer than two isolated words")
    inputs = Tokens.load(paths.tokens(codec)), Codebooks.load(paths.codebooks(codec)), words, params.geometry
    result = study_codec(*inputs, codec=codec, latents=paths.latents(codec), workers=workers)
    with atomic_dir(paths.geometry(codec)) as folder:
        for name in ("clips", "coordinates"):
            table = pa.Table.from_pandas(getattr(result, name), preserve_index=False)
            write_parquet(folder / f"{name}.parquet", table)
    write_csv(paths.geometry_metrics(codec), result.rows)
    rows = result.rows  # those by word in the full space are reported, layers alone as series
    words = rows[(rows["space"] == FULL_SPACE) & (rows["label"] == "word") & (rows["against"] == "")]
    alone = words["representation"].str.startswith("layer_")
    series = words[alone].groupby(["view", "metric"], sort=False)["value"]
    keys = zip(*(words.loc[~alone, column] for column in ("view", "representation", "metric", "value")), strict=True)
    return StageReport(
        metrics={f"{view}.{name}.{metric}": float(value) for view, name, metric, value in keys},
        by_layer={f"{view}.layers.{metric}": values.tolist() for (view, metric), values in series},
    )
