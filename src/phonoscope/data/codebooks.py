"""The code vectors of every RVQ layer, and their one file format."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from phonoscope.data.tables import naming
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors, write_safetensors

MAX_CODES = 1 << 15  # codes are kept as int16
# largest error of an affine fit, relative to the largest entry: far above float32's rounding
AFFINE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Codebooks:
    """Per RVQ layer l the vectors that enter the sum over layers, [K_l, D], and the stored rows, [K_l, d_l].

    The two are the same for EnCodec and SpeechTokenizer. DAC's rows have 8 dimensions and are projected to D.
    On disk: a safetensors file of `layer_<l>` and `raw_<l>`, l from 1.
    """

    vectors: tuple[NDArray[np.float32], ...]  # [K_l, D], as they enter the sum
    raw: tuple[NDArray[np.float32], ...]  # [K_l, d_l], as they are stored
    frame_rate_hz: float = 0.0  # frames a second of the codec; 0 where it is not known

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a safetensors file; without `raw_<l>` the stored rows are `layer_<l>`. Raises `DataError`."""
        tensors, metadata = read_safetensors(path)
        with naming(path):
            return cls.from_tensors(tensors, float(metadata.get("frame_rate_hz", 0.0)))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], frame_rate_hz: float = 0.0) -> Self:
        """From tensors by name, `layer_1`, `layer_2`, ... and perhaps `raw_1`, ... Raises `DataError`."""
        names = {kind: _layers(tensors, kind) for kind in ("layer", "raw")}
        if names["raw"] and len(names["raw"]) != len(names["layer"]):
            raise DataError(f"{len(names['layer'])} tensors layer_<l>, but {len(names['raw'])} raw_<l>")
        vectors, raw = ([tensors[name] for name in names[kind]] for kind in ("layer", "raw"))
        return cls.from_arrays(vectors, raw or None, frame_rate_hz)

    @classmethod
    def from_arrays(cls, vectors: Sequence[Any], raw: Sequence[Any] | None = None, frame_rate_hz: float = 0.0) -> Self:
        """From arrays or tensors, one [K_l, D] a layer; `raw` is the same if it is not given. Raises `DataError`."""
        books = cls(_arrays(vectors), _arrays(vectors if raw is None else raw), frame_rate_hz)
        books.validate()
        return books

    def save(self, path: Path, **metadata: Any) -> None:
        """Write a safetensors file; `metadata` (JSON-able) go with it."""
        import torch

        tensors = {f"layer_{layer}": torch.from_numpy(rows.copy()) for layer, rows in enumerate(self.vectors, start=1)}
        tensors |= {f"raw_{layer}": torch.from_numpy(rows.copy()) for layer, rows in enumerate(self.raw, start=1)}
        write_safetensors(path, tensors, {**metadata, "frame_rate_hz": self.frame_rate_hz, "layers": self.layers})

    def validate(self) -> None:
        """Raise `DataError` for an array that is not [codes, dims], not finite, or does not fit the other layers."""
        if not self.vectors:
            raise DataError("codebooks need at least one layer")
        for kind, books in (("layer", self.vectors), ("raw", self.raw)):
            for layer, (rows, vectors) in enumerate(zip(books, self.vectors, strict=True), start=1):
                name, shape = f"{kind}_{layer}", list(rows.shape)
                if rows.ndim != 2 or not rows.size:
                    raise DataError(f"{name} is {shape}, not [codes, dims]")
                if len(rows) != len(vectors):
                    raise DataError(f"{name} is {shape}, layer_{layer} {list(vectors.shape)}: not as many codes")
                if kind == "layer" and rows.shape[1] != self.dims:
                    raise DataError(f"{name} is {shape}, layer_1 {list(self.vectors[0].shape)}: other dimensions")
                if not np.isfinite(rows).all():
                    raise DataError(f"{name} has values that are not finite")
                if len(rows) > MAX_CODES:
                    raise DataError(f"{name} has {len(rows)} codes; at most {MAX_CODES} are possible")

    @property
    def layers(self) -> int:
        """RVQ layers (L)."""
        return len(self.vectors)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codes of each layer (K_l)."""
        return tuple(len(rows) for rows in self.vectors)

    @property
    def dims(self) -> int:
        """Dimensions of a vector in the sum (D)."""
        return int(self.vectors[0].shape[1])

    @cached_property
    def coincide(self) -> bool:
        """Whether the stored rows are the vectors in the sum."""
        return all(np.array_equal(rows, vectors) for rows, vectors in zip(self.raw, self.vectors, strict=True))

    @cached_property
    def affine_maps(self) -> tuple[NDArray[np.float64], ...] | None:
        """Per layer the [d_l + 1, D] map with vectors = [raw, 1] @ map; None if a layer's vectors are no such image."""
        maps = []
        for raw, vectors in zip(self.raw, self.vectors, strict=True):
            design, image = np.column_stack([raw.astype(np.float64), np.ones(len(raw))]), vectors.astype(np.float64)
            fit = np.linalg.lstsq(design, image)[0]
            if np.abs(design @ fit - image).max() > AFFINE_TOLERANCE * np.abs(image).max():
                return None
            maps.append(fit.astype(np.float64))
        return tuple(maps)

    def first(self, layers: int) -> Self:
        """The first layers. Raises `DataError` if there are fewer."""
        if layers > self.layers:
            raise DataError(f"{layers} layers are asked for; the codebooks have {self.layers}")
        return replace(self, vectors=self.vectors[:layers], raw=self.raw[:layers])


def _arrays(books: Sequence[Any]) -> tuple[NDArray[np.float32], ...]:
    plain = (book.detach().cpu().float() if hasattr(book, "detach") else book for book in books)
    return tuple(np.asarray(book, dtype=np.float32) for book in plain)


def _layers(tensors: Mapping[str, Any], kind: str) -> list[str]:
    """Names of one kind, `<kind>_1` ... `<kind>_L`. Raises `DataError` if a layer is missing."""
    names = {name for name in tensors if re.fullmatch(rf"{kind}_[1-9]\d*", name)}
    expected = [f"{kind}_{layer}" for layer in range(1, len(names) + 1)]
    if names != set(expected) or (kind == "layer" and not names):
        raise DataError(f"needs the tensors {kind}_1, {kind}_2, ..., one a layer; has {sorted(tensors)}")
    return expected
