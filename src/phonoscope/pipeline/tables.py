"""Reading the tables that earlier stages wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from phonoscope import paths
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
    if not paths.MANIFEST.exists():
        raise DataError(f"{paths.MANIFEST}: no such file; run `dvc repro corpus`")
    return _read_parquet(paths.MANIFEST, "corpus")


def _read_parquet(path: Path, stage: str, columns: list[str] | None = None) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError, MemoryError) as error:  # Arrow's own errors are among these
        raise DataError(f"{path}: not a readable table ({error}); run `dvc repro --force {stage}`") from error


def read_aligned_manifest() -> pd.DataFrame:
    """The manifest of the utterances that were aligned, in its own order. Raises `DataError` if a table is missing."""
    manifest = read_manifest()
    if not paths.F0_TRACKS.exists():
        raise DataError(f"{paths.F0_TRACKS}: no such file; run `dvc repro align`")
    aligned = _read_parquet(paths.F0_TRACKS, "align", ["utterance"])["utterance"].unique()
    return manifest[manifest["utterance"].isin(aligned)].reset_index(drop=True)


def read_split() -> dict[str, list[str]]:
    """The utterance ids of `train` and `eval`. Raises `DataError` if the split is missing."""
    try:
        return json.loads(paths.SPLIT.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{paths.SPLIT}: no such file; run `dvc repro split`") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{paths.SPLIT}: not readable as JSON ({error}); run `dvc repro --force split`") from error
