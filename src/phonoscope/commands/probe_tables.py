"""`phonoscope probe-tables`: all probes on tokens that another program made. No DVC stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from phonoscope.commands.foreign_tokens import read_tokens
from phonoscope.config.params import Params
from phonoscope.errors import DataError
from phonoscope.files import write_csv, write_safetensors
from phonoscope.pipeline.base import named_parameters
from phonoscope.probes import TASKS, probe_tokens
from phonoscope.probes.tasks import configured_tasks


def probe_tables(
    params: Params, tokens: Path, codebooks: Path, *, name: str = "", output: Path | None = None
) -> dict[str, Any]:
    """Check, split, probe by sections probe, depth and split; write into the folder `output` if one is given.

    Section depth poses every task that the table has labels for. Returns a JSON-able summary with the rows of the
    written tables. Raises `DataError` for a file that does not follow the schema.
    """
    foreign = read_tokens(tokens, codebooks)
    posed = [task for task in TASKS.values() if task.column in foreign.columns]
    named = {task.name for task in posed}
    with named_parameters("probe"):
        tasks = tuple(task.name for task in configured_tasks(params.probe) if task.name in named)
    if not tasks:
        raise DataError(f"{tokens}: has labels for none of the tasks {', '.join(params.probe.tasks)}")
    split, codec = foreign.split(params.split), name or tokens.stem
    classes = tuple(task.name for task in posed if not task.values)
    configs = {
        "probes": params.probe.model_copy(update={"tasks": tasks, "information": ()}),
        "depth": params.depth.model_copy(update={"tasks": tuple(sorted(named)), "information": classes}),
    }
    data = foreign.tokens, foreign.codebooks, foreign.labels, foreign.manifest, split
    workers = params.compute.workers
    results = {key: probe_tokens(*data, config, codec=codec, workers=workers) for key, config in configs.items()}
    if output is not None:
        probes, depth = results["probes"], results["depth"]
        tables = {"probes": probes.table, "depth": depth.table, "classes": depth.classes, "confusion": depth.confusion}
        for key, table in tables.items():
            write_csv(output / f"{key}.csv", table)
        split.save(output / "split.json")
        for task, probe in probes.tasks.items():
            write_safetensors(output / "probes" / f"{task}.safetensors", *probe.to_tensors())
    return {
        "codec": codec,
        "layers": len(foreign.codebooks),
        "codes": len(foreign.codebooks[0]),
        "train_utterances": len(split.train),
        "eval_utterances": len(split.eval),
        **{
            key: result.table.astype(object).where(result.table.notna(), None).to_dict("records")  # None: no number
            for key, result in results.items()
        },
    }


def describe(report: dict[str, Any]) -> str:
    """The summary as text: layers by probes for each task and measure, then the measures in depth."""
    head = f"{report['codec']}: {report['layers']} layers of {report['codes']} codes; "
    sides = f"{report['train_utterances']} utterances to train on, {report['eval_utterances']} to score"
    rows, depth = pd.DataFrame(report["probes"]), pd.DataFrame(report["depth"])
    parts = [head + sides]
    for (task, measure), group in rows.groupby(["task", "measure"], sort=False):
        linear = group[group["probe"] == "linear"].set_index("layer")
        values = group.pivot(index="layer", columns="probe", values="value")
        shown = linear[["value", "low", "high"]].join(values.drop(columns="linear")).join(linear["converged"])
        parts.append(f"{task}, {measure}\n{shown.to_string(float_format='{:.3f}'.format)}")
    kinds = ["task", "split", "input", "probe", "measure"]
    wide = depth.pivot_table(index=kinds, columns="layer", values="value", sort=False)
    parts.append(f"in depth, by layer\n{wide.to_string(float_format='{:.3f}'.format, na_rep='')}")
    return "\n\n".join(parts)
