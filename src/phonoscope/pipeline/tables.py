"""Tables that stages read of each other, and the files of a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope.drawing import write_figures
from phonoscope.errors import DataError, NotApplicable
from phonoscope.files import write_csv, write_text
from phonoscope.pipeline.aside import reason_in

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, stage: str) -> pd.DataFrame:
    """Read a CSV. Raises `NotApplicable` if the stage that writes it stepped aside.

    Raises `DataError` naming the file and that stage if the file is missing or not readable.
    """
    import pandas as pd

    if reason := reason_in(path):
        raise NotApplicable(reason)

    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run `dvc repro {stage}`") from error
    except ValueError as error:
        raise DataError(f"{path}: not a readable CSV ({error}); run `dvc repro --force {stage}`") from error


def write_report(
    folder: Path, tables: Mapping[str, pd.DataFrame], markdown: str, plots: Path, figures: Mapping[str, Any]
) -> list[Path]:
    """Write tables as CSV, the text as table.md, figures as PNG into `plots`; the paths of the figures."""
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    if markdown:
        write_text(folder / "table.md", markdown)
    return write_figures(plots, figures)
