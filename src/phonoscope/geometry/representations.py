"""Representations of a clip: rows that its code histograms are multiplied with, and the way layers are joined.

All are linear in the histograms h_l [K_l] (shares of a clip's frames, one per RVQ layer), so the time-mean of a
frame-level vector is h_l @ rows_l, summed over layers or put side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.geometry import FOUR
from phonoscope.data.codebooks import Codebooks
from phonoscope.errors import DataError


@dataclass(frozen=True)
class Pooling:
    """One representation as rows to pool: layer l's histogram times `rows[l]`."""

    rows: dict[int, NDArray[np.float64]]  # by layer, counted from 0, [K_l, m]
    concat: bool  # whether layers stand side by side; otherwise they are summed
    dims: int  # dimensions by definition; a compact form has fewer
    bound: int  # the largest rank that the codebooks allow
    offset: float = 0.0  # one more coordinate, the same for every clip: what is left of the projections' biases

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        widths = [rows.shape[1] for rows in self.rows.values()]
        return (sum(widths) if self.concat else widths[0]) + bool(self.offset)

    def apply(self, histograms: Sequence[Any]) -> NDArray[np.float64]:
        """[n, dims], but for the offset, of the layers' histograms, each [n, K_l], dense or sparse."""
        parts = [np.asarray(histograms[layer] @ rows) for layer, rows in self.rows.items()]
        return np.hstack(parts) if self.concat else np.sum(parts, axis=0)


def expand(names: Sequence[str], layers: int) -> list[str]:
    """The names with `layers` replaced by layer_1 ... layer_L."""
    each = [f"layer_{layer}" for layer in range(1, layers + 1)]
    return [item for name in names for item in (each if name == "layers" else [name])]


class Alias(NamedTuple):
    """A representation that is another one times a factor. No score here depends on the factor."""

    of: str
    factor: float


def coinciding(names: Sequence[str], codebooks: Codebooks) -> dict[str, Alias]:
    """The names that coincide with another one of the list, and with which.

    Where the raw rows are the in-sum vectors, `latent_sum` is L times `codes_mean` and `projections_concat` is
    `codes_concat`.
    """
    if not codebooks.coincide:
        return {}
    pairs = {"latent_sum": Alias("codes_mean", codebooks.layers), "projections_concat": Alias("codes_concat", 1)}
    return {name: pairs[name] for name in names if name in pairs and pairs[name].of in names}


def pooling_of(name: str, codebooks: Codebooks, *, compact: bool = False) -> Pooling:
    """The rows of a representation. `compact` keeps all inner products, and with them Euclidean distances and cosines,
    in at most L d + 1 dimensions. Raises `DataError` for a name that no codebook gives.
    """
    layers, dims, maps = codebooks.layers, codebooks.dims, codebooks.affine_maps if compact else None
    widths = [rows.shape[1] for rows in codebooks.raw]
    raw = {layer: rows.astype(np.float64) for layer, rows in enumerate(codebooks.raw)}
    vectors = {layer: rows.astype(np.float64) for layer, rows in enumerate(codebooks.vectors)}
    if name == "codes_mean":
        if len(set(widths)) > 1:
            raise DataError(f"codes_mean needs stored rows of one width; the layers have {widths} dimensions")
        return Pooling({layer: rows / layers for layer, rows in raw.items()}, False, widths[0], widths[0])
    if name == "codes_concat":
        return Pooling(raw, True, sum(widths), sum(widths))
    if name == "latent_sum":
        return _compact_sum(Pooling(vectors, False, dims, min(dims, sum(widths))), maps)
    if name == "projections_concat":
        return _compact_concat(Pooling(vectors, True, layers * dims, sum(min(dims, width) for width in widths)), maps)
    each = expand(["layers"], layers)
    if name not in each:
        there = ", ".join([*FOUR, "latent", "histogram", f"layer_1 ... layer_{layers}"])
        raise DataError(f"no representation {name!r}; there are {there}")
    layer = each.index(name)
    return _compact_concat(Pooling({layer: vectors[layer]}, True, dims, min(dims, widths[layer])), maps)


Maps = Sequence[NDArray[np.float64]]  # as `Codebooks.affine_maps`: the last row of each is its bias


def _compact_sum(wide: Pooling, maps: Maps | None) -> Pooling:
    """The sum in a basis of the span of all layers' maps and of the sum of their biases."""
    if maps is None:
        return wide
    bias = np.sum([each[-1] for each in maps], axis=0)
    basis = _span_basis([*(each[:-1] for each in maps), bias[None]])
    return wide if basis is None else replace(wide, rows={i: rows @ basis for i, rows in wide.rows.items()})


def _compact_concat(wide: Pooling, maps: Maps | None) -> Pooling:
    """Each block in a basis of its map; the biases' parts at right angles to the maps are one number for all blocks."""
    rows, squares = {}, 0.0
    for layer, block in wide.rows.items():
        basis = None if maps is None else _span_basis([maps[layer]])
        if maps is None or basis is None:
            return wide
        rows[layer] = block @ basis[:, :-1]
        squares += float(maps[layer][-1] @ basis[:, -1]) ** 2
    return replace(wide, rows=rows, offset=float(np.sqrt(squares)))


def _span_basis(maps: Maps) -> NDArray[np.float64] | None:
    """An orthonormal basis [D, r] of the span of the maps' rows, the last map's last row entering last.

    This is the Q of A^T = QR for the stacked rows A, so R^T is a factor of their Gram matrix A A^T = R^T R, and vectors
    in the span keep every inner product in these r coordinates. None where r would not be below D.
    """
    rows = np.vstack(list(maps))
    return None if len(rows) >= rows.shape[1] else np.linalg.qr(rows.T)[0]
