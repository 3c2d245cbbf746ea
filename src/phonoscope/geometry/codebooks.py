"""The code vectors of a codec, and the change of basis that keeps their geometry in fewer dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

AFFINE_TOLERANCE = 1e-4
"""Largest error of the affine fit, relative to the largest entry: far above float32's rounding, far below a map that
is not affine."""


@dataclass(frozen=True)
class Codebooks:
    """Per RVQ layer the stored rows, `raw` [K, d], and the vectors that enter the sum over layers, `vectors` [K, D].

    The two are the same for EnCodec and SpeechTokenizer. DAC's in-sum vectors are `out_proj` of its raw rows, bias
    included.
    """

    raw: tuple[NDArray[np.float64], ...]
    vectors: tuple[NDArray[np.float64], ...]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Codebooks:
        """From the tensors raw_1 ... raw_L and layer_1 ... layer_L of codebooks.safetensors.

        Raises `DataError` if a layer is missing, of another shape than the first, or not finite.
        """
        layers = _count_layers(tensors)
        raw, vectors = (
            tuple(np.asarray(tensors[f"{kind}_{layer}"], dtype=np.float64) for layer in range(1, layers + 1))
            for kind in ("raw", "layer")
        )
        for kind, books in (("raw", raw), ("layer", vectors)):
            for layer, rows in enumerate(books, start=1):
                if rows.ndim != 2 or rows.shape != books[0].shape or len(rows) != len(raw[0]):
                    raise DataError(
                        f"codebooks: {kind}_{layer} has shape {rows.shape}, {kind}_1 {books[0].shape}, "
                        f"raw_1 {raw[0].shape}; rebuild them with `dvc repro encode`"
                    )
                if not np.isfinite(rows).all():
                    raise DataError(f"codebooks: {kind}_{layer} holds values that are not finite; check the codec")
        return cls(raw, vectors)

    @property
    def layers(self) -> int:
        """RVQ layers (L)."""
        return len(self.raw)

    @property
    def size(self) -> int:
        """Codes of one layer (K)."""
        return len(self.raw[0])

    @property
    def raw_dims(self) -> int:
        """Dimensions of a stored row (d)."""
        return int(self.raw[0].shape[1])

    @property
    def dims(self) -> int:
        """Dimensions of an in-sum vector (D)."""
        return int(self.vectors[0].shape[1])

    @cached_property
    def coincide(self) -> bool:
        """Whether the raw rows are the in-sum vectors."""
        return all(np.array_equal(rows, vectors) for rows, vectors in zip(self.raw, self.vectors, strict=True))

    @cached_property
    def affine_maps(self) -> tuple[NDArray[np.float64], ...] | None:
        """Per layer the [d + 1, D] map with vectors = [raw, 1] @ map; None if a layer's vectors are no such image."""
        maps = []
        for rows, vectors in zip(self.raw, self.vectors, strict=True):
            design = np.column_stack([rows, np.ones(len(rows))])
            found = np.linalg.lstsq(design, vectors)[0]
            if np.abs(design @ found - vectors).max() > AFFINE_TOLERANCE * np.abs(vectors).max():
                return None
            maps.append(found.astype(np.float64))
        return tuple(maps)


def _count_layers(tensors: Mapping[str, Any]) -> int:
    """L. Raises `DataError` naming the first tensor that is missing."""
    numbers = [name.rpartition("_")[2] for name in tensors if name.startswith(("raw_", "layer_"))]
    layers = max((int(number) for number in numbers if number.isdecimal()), default=0)
    if not layers:
        raise DataError("codebooks: no tensors raw_1, layer_1, ...; rebuild them with `dvc repro encode`")
    for layer in range(1, layers + 1):
        for name in (f"raw_{layer}", f"layer_{layer}"):
            if name not in tensors:
                raise DataError(
                    f"codebooks: {name} of {layers} layers is missing; rebuild them with `dvc repro encode`"
                )
    return layers


def span_basis(maps: Sequence[NDArray[np.float64]], dims: int) -> NDArray[np.float64] | None:
    """An orthonormal basis [D, r] of the span of the maps' rows, the last map's last row entering last.

    It is the Q of A^T = QR for the stacked rows A, so R^T is a factor of their Gram matrix A A^T = R^T R, and vectors
    in the span keep every inner product in these r coordinates. None where r would not be below D.
    """
    rows = np.vstack(list(maps))
    return None if len(rows) >= dims else np.linalg.qr(rows.T)[0]
