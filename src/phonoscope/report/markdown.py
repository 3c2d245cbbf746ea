"""Numbers and tables as Markdown."""

from __future__ import annotations

import pandas as pd


def number(value: float, digits: int = 3) -> str:
    """A score as text: `digits` decimals, one from 10 on; a true minus sign, never minus zero; empty for NaN."""
    if pd.isna(value):
        return ""
    text = f"{value:.{1 if abs(value) >= 10 else digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """`value [low, high]`, or the value alone where there is no interval."""
    text = number(value, digits)
    return text if pd.isna(low) or low == high else f"{text} [{number(low, digits)}, {number(high, digits)}]"


def markdown(table: pd.DataFrame, text_columns: int = 1) -> str:
    """A table of texts as Markdown; the first `text_columns` are aligned left, the others right."""
    cells = table.fillna("").astype(str)
    align = ["left" if column < text_columns else "right" for column in range(len(cells.columns))]
    if cells.empty:  # tabulate aligns no column of an empty table
        align = []
    return cells.to_markdown(index=False, disable_numparse=True, colalign=align)
