"""Reading the text files that describe corpora."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from phonoscope.errors import DataError


def read_rows(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV or, by its suffix, a TSV: column -> stripped text, "" if empty. Raises `DataError`."""
    tab_separated = path.suffix == ".tsv"
    try:
        table = pd.read_csv(
            path,
            sep="\t" if tab_separated else ",",
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            encoding="utf-8-sig",
            # Common Voice's sentences hold quotation marks that quote nothing
            quoting=csv.QUOTE_NONE if tab_separated else csv.QUOTE_MINIMAL,
        )
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; see docs/corpora.md for the layout") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable table ({error})") from error
    if not isinstance(table.index, pd.RangeIndex):  # else every cell would be one column too far left
        raise DataError(f"{path}: rows have more cells than the header has columns; quote texts that hold a comma")
    if missing := [column for column in required if column not in table.columns]:
        raise DataError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    rows = table.fillna("").to_dict("records")
    return [{str(column): str(cell).strip() for column, cell in row.items()} for row in rows]


def read_text(path: Path) -> str:
    """The content of a text file, with or without a byte order mark. Raises `DataError` if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as UTF-8 text ({error})") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty. Raises `DataError` if there are none."""
    lines = [line.strip() for line in read_text(path).splitlines()]
    if not any(lines):
        raise DataError(f"{path}: empty")
    return [line for line in lines if line]
