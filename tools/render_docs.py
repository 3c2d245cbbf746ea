"""Write the result tables of README and docs from the committed CSVs of metrics/.

`python -m tools.render_docs` (or `make docs`) replaces everything between `<!-- table: NAME ARGUMENTS -->` and
`<!-- end -->` in a page by the table of that name, one of `TABLES`.
"""

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from phonoscope import paths
from phonoscope.config.params import load_params
from phonoscope.files import interval_columns
from phonoscope.report import probes
from phonoscope.report.markdown import markdown, number, with_interval
from tools.imports import ROOT

BLOCK = re.compile(r"(<!-- table: ([^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def layers(task: str) -> str:
    """Scores of one task: RVQ layers by codecs, with intervals; the best layer of a codec is bold."""
    return probes.layer_table(_compared(), task, probes.headline_measure(task))


def permuted() -> str:
    """Score of the probe on a permuted codebook at layer 1: tasks by codecs."""
    rows = _compared()
    first = rows[(rows["layer"] == 1) & (rows["probe"] == "linear")]
    chosen = first[first["measure"] == first["task"].map(probes.headline_measure)]
    names = chosen["task"] + ", " + chosen["measure"].map(probes.MEASURES)
    wide = chosen.assign(text=chosen["permuted"].map(number), name=names)
    return _pivot(wide, "name", "permuted codebook, layer 1")


def verdicts() -> str:
    """Claims about the probes, with value, interval, bound and verdict."""
    table = pd.read_csv(ROOT / paths.COMPARISON / "verdicts.csv")
    table = table.assign(measured=_measured(table), bound=table["bound"].map(number))
    return markdown(table[["claim", "codec", "measured", "bound", "verdict"]], text_columns=2)


def depth_inputs() -> str:
    """Phone macro-F1 of the linear probe for every input in depth: inputs by codecs."""
    rows = _depth()
    chosen = rows[(rows["probe"] == "linear") & (rows["measure"] == "macro_f1")]
    names = {"layer": "layer {}", "cumulative": "layers 1 to {}", "untrained": "layer {}, untrained"}
    where = zip(chosen["input"], chosen["layer"], strict=True)
    name = [names.get(source, source).format(layer) for source, layer in where]
    return _pivot(chosen.assign(name=name, text=_measured(chosen)), "name", "macro-F1")


def depth_measures(layer: str = "1") -> str:
    """Information measures of phones at one layer, with their nulls: measures by codecs."""
    rows = _depth()
    rows = rows[(rows["input"] == "layer") & (rows["layer"] == int(layer))]
    information, code = "mutual information, bits", "compression of the online code"
    parts = []
    for probe, measure, label, null in (
        ("table", "mi_held_out_bits", f"{information}: lower bound from utterances held out", ""),
        ("table", "mi_corrected_bits", f"{information}: less that of permuted segments", "what was subtracted"),
        ("linear", "mdl_compression", code, f"{code}, permuted labels"),
        ("linear", "selectivity", "selectivity of the linear probe", ""),
    ):
        chosen = rows[(rows["probe"] == probe) & (rows["measure"] == measure)]
        parts.append(chosen.assign(name=label, text=_measured(chosen)))
        if null:
            parts.append(chosen.assign(name=null, text=chosen["null"].map(number)))
    return _pivot(pd.concat(parts), "name", f"layer {layer}")


def csv(path: str, *options: str) -> str:
    """Rows and columns of a committed CSV.

    Options: `column=value` keeps the rows with one of the values (`a|b`); `show=a,b:label` the columns, with their
    headings. An interval (`files.interval_columns`) is shown with its value. A boolean is yes or no, a whole number
    from 10 on a count.
    """
    table, shown = pd.read_csv(ROOT / path), [f"{column}:" for column in pd.read_csv(ROOT / path, nrows=0)]
    for option in options:
        name, _, value = option.partition("=")
        if name == "show":
            shown = value.split(",")
        else:
            table = table[table[name].astype(str).isin(value.split("|"))]
    columns = {label or name: _texts(table, name) for name, _, label in (each.partition(":") for each in shown)}
    texts = sum(not pd.api.types.is_numeric_dtype(table[each.partition(":")[0]]) for each in shown)
    return markdown(pd.DataFrame(columns), text_columns=texts)


def _texts(table: pd.DataFrame, name: str) -> list[str]:
    if bounds := interval_columns(table.columns).get(name):
        return [with_interval(*row) for row in table[[name, *bounds]].itertuples(index=False)]
    if pd.api.types.is_bool_dtype(table[name]):
        return ["yes" if value else "no" for value in table[name]]
    if pd.api.types.is_float_dtype(table[name]) and not (table[name].dropna() % 1 == 0).all():
        return [f"{value:.0f}" if value >= 10 and value % 1 == 0 else number(value) for value in table[name]]
    return [
        "" if pd.isna(value) else f"{value:.0f}" if isinstance(value, float) else str(value) for value in table[name]
    ]


def claims() -> str:
    """What README claims: claims by corpora, with verdict, value, interval and n."""
    table = pd.read_csv(ROOT / "docs/results/claims.csv")
    measured = [
        f"{verdict}: {value}, {n:.0f} {unit}" if value else verdict
        for verdict, value, n, unit in zip(table["verdict"], _measured(table), table["n"], table["unit"], strict=True)
    ]
    wide = table.assign(text=measured).pivot_table(
        index=["claim", "runs"], columns="corpus", values="text", aggfunc="first", sort=False
    )
    return markdown(wide.reset_index())


TABLES: dict[str, Callable[..., str]] = {
    "csv": csv,
    "claims": claims,
    "layers": layers,
    "permuted": permuted,
    "verdicts": verdicts,
    "depth_inputs": depth_inputs,
    "depth_measures": depth_measures,
}


def rendered(text: str) -> str:
    """The page with every table written anew. Raises `KeyError` for a table that is not in `TABLES`."""

    def table(match: re.Match[str]) -> str:
        name, *arguments = shlex.split(match[2])
        return f"{match[1]}\n{TABLES[name](*arguments)}\n\n{match[3]}"

    return BLOCK.sub(table, text)


def pages() -> list[Path]:
    """README and all pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _compared() -> pd.DataFrame:
    return pd.read_csv(ROOT / paths.COMPARISON / "probes.csv")


def _depth() -> pd.DataFrame:
    """Phones in depth, all codecs in the order of params.yaml."""
    codecs = load_params(ROOT / paths.PARAMS).codecs
    rows = pd.concat([pd.read_csv(ROOT / paths.depth_metrics(codec)) for codec in codecs], ignore_index=True)
    return rows[(rows["task"] == "phone") & (rows["split"] == "utterances")]


def _measured(rows: pd.DataFrame) -> list[str]:
    return [with_interval(*row) for row in rows[["value", "low", "high"]].itertuples(index=False)]


def _pivot(rows: pd.DataFrame, index: str, title: str) -> str:
    """A Markdown table of `text`, codecs as columns, rows and codecs in order of appearance."""
    wide = rows.pivot_table(index=index, columns="codec", values="text", aggfunc="first", sort=False)
    return markdown(wide.rename_axis(index=title, columns=None).reset_index())


def main() -> int:
    """Write every page anew."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := rendered(text)) != text:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)}: written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
