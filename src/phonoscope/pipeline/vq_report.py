"""Stage `vq-report`: the collapse in tables beside the document's, figures and answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from phonoscope import paths
from phonoscope.drawing import png
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir, atomic_file, read_safetensors, write_csv
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_table
from phonoscope.studies.collapse.variants import arm_variants, main_variants
from phonoscope.vq.answers import Findings
from phonoscope.vq.figures import draw_features, draw_norms, draw_perplexities
from phonoscope.vq.headline import headline, headline_table, perplexity_curves
from phonoscope.vq.report import report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.config.params import Params

PANELS = {"vq_unscaled": "vq, faulty update", "vq": "vq, right update"}
FIGURES = ("perplexities", "encoder", "norms")


@stage(
    "vq-report",
    desc="Why the codebook collapsed, in tables, figures and answers",
    params=["vq.arms"],
)
def run(params: Params) -> StageReport:
    """Write metrics/vq-report (the report, and the headline numbers) and plots/vq."""
    names = [variant.name for variant in main_variants() + arm_variants(params.vq.arms)]
    tables = {name: read_table(paths.VQ_METRICS / f"{name}.csv", "vq") for name in names}
    headlines = {name: headline(table) for name, table in tables.items()}
    found = Findings(tables, {name: _checks(name) for name in names})
    curves = perplexity_curves({name: tables[name] for name in PANELS})
    text = report(found, headlines)
    shown = {"baseline": "baseline", **PANELS}
    books = {name: _tensor(name, "model", "quantizer.layers.0.embed")[0] for name in PANELS}
    vectors = {name: (_tensor(name, "evidence", "train"), _tensor(name, "evidence", "eval")) for name in shown}
    figures = (draw_perplexities(curves, PANELS), draw_features(vectors, books, shown), draw_norms(tables, PANELS))
    write_csv(paths.VQ_REPORT / "perplexities.csv", curves)
    write_csv(paths.VQ_REPORT / "headline.csv", headline_table(headlines))
    with atomic_file(paths.VQ_REPORT / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic_dir(paths.VQ_PLOTS) as folder:
        for name, figure in zip(FIGURES, figures, strict=True):
            (folder / f"{name}.png").write_bytes(png(figure))
    return StageReport(figures=[paths.VQ_PLOTS / f"{name}.png" for name in FIGURES])


def _checks(variant: str) -> pd.DataFrame:
    """The checks of a variant, a row a seed."""
    path = paths.VQ_MODELS / variant / "checks.json"
    try:
        return pd.DataFrame.from_dict(json.loads(path.read_text(encoding="utf-8")), orient="index")
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not readable ({error}); run `dvc repro vq`") from error


def _tensor(variant: str, file: str, name: str) -> NDArray[np.float32]:
    tensors, _ = read_safetensors(paths.VQ_MODELS / variant / f"{file}.safetensors")
    return tensors[name].float().numpy()
