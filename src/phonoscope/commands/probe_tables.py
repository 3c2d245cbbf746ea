"""`phonoscope probe-tables`: all the probes on tokens that another program made. No DVC stage."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from phonoscope.commands.foreign_tokens import ForeignTokens, read_tokens
from phonoscope.errors import DataError
from phonoscope.files import write_csv, write_json, write_safetensors
from phonoscope.probes.depth import Vectors, class_tasks, probe_depth
from phonoscope.probes.labels import TASKS, LabelTask, PhoneLabels, UtteranceLabels
from phonoscope.probes.pitch import PITCH
from phonoscope.probes.run import probe_codec
from phonoscope.probes.token_frames import read_frames

if TYPE_CHECKING:
    import pandas as pd

    from phonoscope.config.params import Params
    from phonoscope.probes.depth import DepthResult

LINEAR = ("phone", "speaker", "f0_hz")
"""The labels of which the probes of every layer need one."""


def probe_tables(
    params: Params, tokens: Path, codebooks: Path, *, name: str = "", output: Path | None = None
) -> dict[str, Any]:
    """Check, split, probe; write the results into the folder `output` if one is given.

    Settings are those of the parameters' sections probe, depth and split; in depth every task is posed that the table
    has labels for. Returns a JSON-able summary whose `probes` and `depth` are the rows of the tables written. Raises
    `DataError` for a file that does not follow the schema.
    """
    with TemporaryDirectory(prefix="phonoscope-tables-") as temporary:
        foreign = read_tokens(tokens, codebooks, Path(temporary))
        if not foreign.labels.intersection(LINEAR):
            raise DataError(f"{tokens}: has none of the columns {', '.join(LINEAR)}: there is nothing to probe for")
        split, codec = foreign.split(params.split), name or tokens.stem
        speakers = dict(zip(foreign.manifest["utterance"], foreign.manifest["speaker"], strict=True))
        linear = probe_codec(
            foreign.tokens,
            foreign.codebooks,
            split["train"],
            split["eval"],
            speakers,
            params.probe,
            codec=codec,
            workers=params.compute.workers,
        )
        depth = _depth(params, foreign, split, codec, Path(temporary))
    tables = {"probes": linear.rows, "depth": depth.scores, "classes": depth.classes, "confusion": depth.confusion}
    if output is not None:
        _write(output, tables, split)
        for task, found in linear.tasks.items():
            write_safetensors(output / "probes" / f"{task}.safetensors", *found.to_tensors())
    return {
        "codec": codec,
        "layers": len(foreign.codebooks),
        "codes": len(foreign.codebooks[0]),
        "train_utterances": len(split["train"]),
        "eval_utterances": len(split["eval"]),
        **{key: tables[key].to_dict("records") for key in ("probes", "depth")},
    }


def _depth(params: Params, foreign: ForeignTokens, split: dict[str, Any], codec: str, folder: Path) -> DepthResult:
    named = tuple(name for name, task in TASKS.items() if _label(task) in foreign.labels)
    posed = (*named, PITCH) if "f0_hz" in foreign.labels else named
    config = params.depth.model_copy(update={"tasks": posed, "information": named})
    wanted = sorted({*class_tasks(posed, config), *named})
    columns = {str(name): foreign.manifest[name].tolist() for name in foreign.manifest}
    size = len(foreign.codebooks[0])
    frames = read_frames(foreign.tokens, columns, wanted, folder, layers=len(foreign.codebooks), size=size)
    vectors = Vectors(foreign.codebooks)
    return probe_depth(frames, vectors, columns, split, config, codec=codec, workers=params.compute.workers)


def _label(task: LabelTask) -> str:
    """The column without which a task cannot be posed."""
    if isinstance(task, UtteranceLabels):
        return task.column
    return "phone" if isinstance(task, PhoneLabels) else "f0_hz"


def _write(output: Path, tables: dict[str, pd.DataFrame], split: dict[str, Any]) -> None:
    for key, table in tables.items():
        write_csv(output / f"{key}.csv", table)
    write_json(output / "split.json", split)


def describe(report: dict[str, Any]) -> str:
    """The summary as text: a table a task of the probes of every layer, and one of the measures in depth."""
    import pandas as pd

    head = f"{report['codec']}: {report['layers']} layers of {report['codes']} codes; "
    sides = f"{report['train_utterances']} utterances to train on, {report['eval_utterances']} to score"
    rows, depth = pd.DataFrame(report["probes"]), pd.DataFrame(report["depth"])
    parts = [head + sides]
    for (task, metric), own in rows.groupby(["task", "metric"], sort=False):
        shown = own.set_index("layer")[["value", "ci_low", "ci_high", "permuted", "lookup", "majority", "converged"]]
        parts.append(f"{task}, {metric}\n{shown.to_string(float_format='{:.3f}'.format)}")
    kinds = ["task", "split", "input", "probe", "measure"]
    wide = depth.pivot_table(index=kinds, columns="layer", values="value", sort=False)
    parts.append(f"in depth, by layer\n{wide.to_string(float_format='{:.3f}'.format, na_rep='')}")
    return "\n\n".join(parts)
