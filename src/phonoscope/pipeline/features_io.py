"""The files of one site's features: features.npy, index.parquet, features.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.errors import DataError
from phonoscope.files import write_parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_S = 0.02
TEXT_COLUMNS = ("utterance", "phone", "word", "speaker", "sex", "accent", "split")


@dataclass(frozen=True)
class Features:
    """One site's activations and whose they are, row by row."""

    values: NDArray[np.float16]
    """[rows, width], or [rows, parts, width]; memory-mapped, read-only."""
    index: pd.DataFrame
    config: dict[str, Any]

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of `train` or `eval`."""
        return np.flatnonzero(self.index["split"] == split)

    def starts(self) -> dict[str, int]:
        """The first row of each utterance."""
        names = self.index["utterance"].astype(str).to_numpy()
        first = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
        return dict(zip(names[first], first.tolist(), strict=True))


def write_index(path: Path, index: pd.DataFrame) -> None:
    """Write index.parquet, its texts as dictionaries in order of appearance."""
    import pyarrow as pa

    arrays = {
        name: pa.array(column.astype(str)).dictionary_encode() if name in TEXT_COLUMNS else pa.array(column)
        for name, column in index.items()
    }
    write_parquet(path, pa.table({str(name): array for name, array in arrays.items()}))


def read_features(site: str) -> Features:
    """Open one site's features.

    Raises: `DataError` if a file is missing, truncated or does not fit the others.
    """
    folder = paths.features(site)
    mend = "run `dvc repro --force features`"
    for name in ("features.npy", "index.parquet", "features.json"):
        if not (folder / name).exists():
            raise DataError(f"{folder / name}: no such file; run `dvc repro features`")
    try:
        values = np.load(folder / "features.npy", mmap_mode="r")
        index = pd.read_parquet(folder / "index.parquet")
        config = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:  # NumPy, Arrow and JSON name a broken file by either
        raise DataError(f"{folder}: not readable, or truncated ({error}); {mend}") from error
    if values.dtype != np.float16 or values.ndim not in (2, 3) or not len(index) == len(values) == config["rows"]:
        raise DataError(f"{folder}: features.npy {values.dtype} {values.shape} beside {len(index)} rows; {mend}")
    return Features(values, index, config)
