"""What a stage that the corpus cannot feed leaves in place of its outputs, and how others see that it stepped aside."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from phonoscope.drawing import new_figure, style, write_figures
from phonoscope.files import atomic_dir, write_csv, write_json, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARK = "not-applicable"
"""Name of the only file of a folder whose stage stepped aside."""
COLUMN = "not_applicable"


def step_aside(outputs: Iterable[Path], reason: str) -> list[Path]:
    """Write every output, which DVC demands, as the reason alone: tables, texts and pictures. Returns the pictures."""
    figures = []
    for path in outputs:
        if path.suffix:
            _write(path, reason)
        elif path.parts[0] == "plots":
            figures += write_figures(path, {MARK: _figure(reason)})
        else:
            with atomic_dir(path) as folder:
                _write(folder / f"{MARK}.csv", reason)
    return figures


def reason_in(output: Path) -> str | None:
    """Why the stage that writes this file or folder stepped aside, or None if it did not. Pictures say None."""
    path = output / f"{MARK}.csv" if output.is_dir() else output
    if path.suffix != ".csv" or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.reader(file)
        return next(rows)[0] if next(rows, None) == [COLUMN] else None


def _write(path: Path, reason: str) -> None:
    import pandas as pd

    if path.suffix == ".csv":
        write_csv(path, pd.DataFrame({COLUMN: [reason]}))
    elif path.suffix == ".json":
        write_json(path, {COLUMN: reason})
    else:
        write_text(path, f"Not applicable: {reason}\n")


def _figure(reason: str) -> Figure:
    with style():
        figure = new_figure(6, 1.5)
        figure.text(0.5, 0.5, f"not applicable: {reason}", ha="center", va="center", wrap=True)
    return figure
