"""Reading the tables that earlier stages wrote."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from phonoscope import paths
from phonoscope.data import Labels, Manifest, Split
from phonoscope.errors import DataError


def read_table(path: Path, stage: str) -> pd.DataFrame:
    """Read a CSV. Raises `DataError` naming the file and the stage that writes it."""
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run `dvc repro {stage}`") from error
    except ValueError as error:
        raise DataError(f"{path}: not a readable CSV ({error}); run `dvc repro --force {stage}`") from error


def read_manifest() -> pd.DataFrame:
    """The corpus's manifest, a row an utterance. Raises `DataError` if it is missing."""
    return Manifest.load(paths.MANIFEST).table


def read_aligned_manifest() -> pd.DataFrame:
    """The manifest of the aligned utterances. Raises `DataError` if a table is missing."""
    return Manifest.load(paths.MANIFEST).select(Labels.load(paths.ALIGNMENTS).utterances).table


def read_split() -> dict[str, list[str]]:
    """The utterance ids of `train` and `eval`. Raises `DataError` if the split is missing."""
    return asdict(Split.load(paths.SPLIT))
