"""The probes in depth as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

MEASURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "selectivity": "selectivity",
    "mi_bits": "mutual information, bits",
    "mi_share": "mutual information, share of entropy",
    "mdl_bits": "online code, bits a frame",
    "mdl_compression": "compression",
}


def depth_markdown(scores: pd.DataFrame, classes: pd.DataFrame, *, confidence: float) -> str:
    """All scores, a table a task and split, and the F1 of every phone in layer 1."""
    parts = ["# Probes in depth\n"]
    head = ("codec", "input", "layer", "probe", "measure", "value", f"{confidence:.0%} interval", "null")
    for (task, split), rows in scores.groupby(["task", "split"], sort=False):
        parts += [f"\n## {task}, held-out {split}\n\n", *_table(head, _score_lines(rows))]
    parts += _phones(classes)
    return "".join(parts)


def _score_lines(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for row in rows.itertuples():
        name = MEASURES.get(str(row.measure), str(row.measure)) + ("" if row.converged else " (not converged)")
        span = f"{row.ci_low:.3f} to {row.ci_high:.3f}"
        yield (
            *(str(row.codec), str(row.input), str(row.layer) if row.layer else "–", str(row.probe), name),
            *(f"{row.value:.3f}", span, f"{row.null:.3f}"),
        )


def _phones(classes: pd.DataFrame) -> list[str]:
    rows = classes[(classes["task"] == "phone") & (classes["input"] == "layer") & (classes["layer"] == 1)]
    if rows.empty:
        return []
    f1 = rows.pivot_table(index=["class", "group"], columns="codec", values="f1", sort=False)
    lines = [
        (str(phone), str(group), *(f"{value:.3f}" for value in values))
        for (phone, group), values in zip(f1.index, f1.to_numpy(), strict=True)
    ]
    return ["\n## F1 of each phone, layer 1\n\n", *_table(("phone", "group", *map(str, f1.columns)), iter(lines))]


def _table(head: tuple[str, ...], lines: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    for line in lines:
        yield f"| {' | '.join(line)} |\n"
