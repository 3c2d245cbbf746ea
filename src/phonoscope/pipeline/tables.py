"""Reading the CSV tables that earlier stages wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phonoscope.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, stage: str) -> pd.DataFrame:
    """Read a CSV. Raises `DataError` naming the file and the stage that writes it."""
    import pandas as pd

    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run `dvc repro {stage}`") from error
    except ValueError as error:
        raise DataError(f"{path}: not a readable CSV ({error}); run `dvc repro --force {stage}`") from error
