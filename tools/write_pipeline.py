"""Write into dvc.yaml what the code already says of a stage: desc, cmd, foreach, deps on code, params.

`python -m tools.write_pipeline` (or `make pipeline`) changes dvc.yaml in place. Written by hand there: deps on data,
outs, metrics and plots. To add a stage, write these under its name; the rest is filled in.
"""

import io
import sys
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from phonoscope import paths
from phonoscope.config.params import Params, load_params
from phonoscope.pipeline.base import Stage, stages
from tools.imports import ROOT, Imports

LOCK = "requirements.lock"
COMMAND = "PYTHONPATH=src python -m phonoscope"
KEYS = ("desc", "cmd", "deps", "params", "outs", "metrics", "plots")  # the order of a stage's keys


def written(text: str, registry: dict[str, Stage], params: Params, imports: Imports) -> str:
    """The text of dvc.yaml with everything filled in that the code says. Comments and the order of stages stay.

    Raises: `ValueError` for a stage in only one of dvc.yaml and the registry.
    """
    parser = YAML(typ="rt")
    parser.width = 120
    parser.indent(mapping=2, sequence=4, offset=2)
    content = parser.load(text)
    if odd := sorted(content["stages"].keys() ^ registry.keys()):
        where = "a module of phonoscope.pipeline" if odd[0] in content["stages"] else "dvc.yaml"
        raise ValueError(f"stage {odd[0]!r} is not in {where}")
    for name, stage in registry.items():
        content["stages"][name] = _entry(content["stages"][name], stage, params, imports)
    out = io.StringIO()
    parser.dump(content, out)
    return out.getvalue()


def _entry(entry: CommentedMap, stage: Stage, params: Params, imports: Imports) -> CommentedMap:
    """A stage's whole entry."""
    if stage.per is None:
        return _fill(entry, stage, "", imports)
    body = entry.get("do", entry)
    if not isinstance(stage.per, str):
        return CommentedMap(foreach=CommentedSeq(stage.per), do=_fill(body, stage, "item", imports))
    item = "key" if isinstance(params.at(stage.per), dict) else "item"
    return CommentedMap(foreach=f"${{{stage.per}}}", do=_fill(body, stage, item, imports))


def _fill(body: CommentedMap, stage: Stage, item: str, imports: Imports) -> CommentedMap:
    template = f"${{{item}}}" if item else ""
    module = stage.module.partition(".")[2]
    code = [path.relative_to(ROOT).as_posix() for path in imports.covering(imports.closure(module))]
    said: dict[str, Any] = {
        "desc": stage.desc,
        "cmd": f"{COMMAND} {stage.name} {template}".rstrip(),
        "deps": _deps(body.get("deps", CommentedSeq()), code),
        "params": CommentedSeq(sorted(stage.keys(template))),
    }
    for place, key in enumerate(KEYS):
        if key not in said:
            continue
        if key in body:
            body[key] = said[key]
        else:
            body.insert(min(place, len(body)), key, said[key])
    return body


def _deps(listed: CommentedSeq, code: list[str]) -> CommentedSeq:
    """The deps on data as they are listed, with their comments, then the lock and the code."""
    data = [place for place, dep in enumerate(listed) if dep != LOCK and not dep.startswith("src/")]
    deps = CommentedSeq([*(listed[place] for place in data), LOCK, *code])
    comments = {new: listed.ca.items[old] for new, old in enumerate(data) if old in listed.ca.items}
    deps.ca.items.update(comments)
    return deps


def main() -> None:
    """Rewrite dvc.yaml of this checkout."""
    file = ROOT / "dvc.yaml"
    before = file.read_text(encoding="utf-8")
    after = written(before, stages(), load_params(ROOT / paths.PARAMS), Imports())
    if after != before:
        file.write_text(after, encoding="utf-8")
    sys.stdout.write("dvc.yaml: written\n" if after != before else "dvc.yaml: nothing to change\n")


if __name__ == "__main__":
    main()
