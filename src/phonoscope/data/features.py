"""Activations of a model, a row a frame, with the labels of every row."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from phonoscope.data.tables import naming, open_array, read_frame, read_json
from phonoscope.errors import DataError
from phonoscope.files import write_json, write_parquet

TEXT_COLUMNS = ("utterance", "phone", "word", "speaker", "sex", "accent", "split")


@dataclass(frozen=True)
class Features:
    """Activations of one site. On disk: a folder of features.npy, index.parquet and features.json."""

    values: NDArray[Any]  # [rows, width], or [rows, parts, width]; float16 and memory-mapped when read from disk
    index: pd.DataFrame  # labels of every row: utterance, frame, phone, word, speaker, sex, accent, split, ...
    config: dict[str, Any] = field(default_factory=dict)  # how the activations were taken, JSON-able

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a folder of features. Raises `DataError` if a file is missing, truncated or does not fit the others."""
        with naming(folder):
            values = open_array(folder / "features.npy")
            features = cls(values, read_frame(folder / "index.parquet"), read_json(folder / "features.json"))
            features.validate()
            return features

    @classmethod
    def from_arrays(cls, values: NDArray[Any], utterance: NDArray[Any] | list[str], **columns: Any) -> Self:
        """From activations [rows, width] and a value a row in each column; frames are numbered by utterance."""
        names = pd.Series(np.asarray(utterance, dtype=object))
        frame = names.groupby(names, sort=False).cumcount().to_numpy(np.int32)
        features = cls(values, pd.DataFrame({"utterance": names, "frame": frame, **columns}))
        features.validate()
        return features

    def save(self, folder: Path) -> None:
        """Write the three files into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "features.npy", self.values)
        write_feature_index(folder / "index.parquet", self.index)
        write_json(folder / "features.json", {**self.config, "rows": len(self.values)})

    def validate(self) -> None:
        """Raise `DataError` unless every row has labels."""
        rows = {len(self.values), len(self.index), self.config.get("rows", len(self.values))}
        if self.values.ndim not in (2, 3) or len(rows) > 1:
            raise DataError(f"features {self.values.dtype} {self.values.shape} beside {len(self.index)} rows of labels")

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of `train` or `eval`."""
        return np.flatnonzero(self.index["split"] == split)

    def starts(self) -> dict[str, int]:
        """The first row of each utterance."""
        names = self.index["utterance"].astype(str).to_numpy()
        first = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
        return dict(zip(names[first], first.tolist(), strict=True))


def write_feature_index(path: Path, index: pd.DataFrame) -> None:
    """Write index.parquet, its texts as dictionaries in order of appearance."""
    arrays = {
        str(name): pa.array(column.astype(str)).dictionary_encode() if name in TEXT_COLUMNS else pa.array(column)
        for name, column in index.items()
    }
    write_parquet(path, pa.table(arrays))
