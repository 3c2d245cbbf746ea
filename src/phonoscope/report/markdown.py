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
    exact = pd.isna(low) or pd.isna(high) or low == high
    return text if exact else f"{text} [{number(low, digits)}, {number(high, digits)}]"


def intervals(rows: pd.DataFrame) -> list[str]:
    """Each row's columns value, low and high as one text."""
    return [with_interval(*row) for row in rows[["value", "low", "high"]].itertuples(index=False)]


def markdown(table: pd.DataFrame, text_columns: int = 1) -> str:
    """A table of texts as Markdown; the first `text_columns` are aligned left, the others right."""
    cells = table.astype(object).fillna("").astype(str)
    align = ["left" if column < text_columns else "right" for column in range(len(cells.columns))]
    # tabulate aligns no column of an empty table
    return cells.to_markdown(index=False, disable_numparse=True, colalign=[] if cells.empty else align)


def page(*parts: str) -> str:
    """Headings, paragraphs and tables as one document."""
    return "\n\n".join(parts) + "\n"
