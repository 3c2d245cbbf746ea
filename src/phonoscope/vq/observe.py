"""A dataset as a quantizer sees it: how often each code of each layer is used, and how long the layers' inputs are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from phonoscope.data.tokens import Tokens
from phonoscope.errors import DataError
from phonoscope.vq.states import QuantizerState, load_tensors


@dataclass(frozen=True)
class Observed:
    """A dataset at one layer. counts: [K] vectors per code. norm: the median norm of the layer's inputs, if known."""

    counts: Tensor
    norm: float | None = None


def observe_vectors(state: QuantizerState, vectors: Tensor) -> list[Observed]:
    """Pass encoder outputs [N, D] through the layers, up to the first one whose codes are not finite."""
    width = _input_width(state)
    if vectors.ndim != 2 or vectors.shape[1] != width or not len(vectors):
        raise DataError(f"the quantizer takes vectors [N, {width}], not {list(vectors.shape)}")
    if not torch.isfinite(vectors).all():
        raise DataError("the vectors hold values that are not finite")
    residual = F.normalize(vectors.double()) if state.unit_inputs else vectors.double()
    if state.project_in:
        residual = state.project_in(residual)
        if not torch.isfinite(residual).all():
            raise DataError("the projection before the first layer gives values that are not finite")
    observed = []
    for book in state.books:
        # the codes live behind the layer's own projection, so their norms compare with the inputs' there
        inputs = book.project_in(residual) if book.project_in else residual
        codes = book.search(residual)
        counts = torch.bincount(codes, minlength=len(book.vectors))
        observed.append(Observed(counts, float(inputs.norm(dim=1).median())))
        residual = residual - book.decode(codes)
        if not torch.isfinite(residual).all():
            break
    return observed


def _input_width(state: QuantizerState) -> int:
    """Dimensions of the quantizer's inputs. Raises `DataError` if a residual cannot pass from layer to layer."""
    widths = set()
    for book in state.books:
        codes = book.vectors.shape[1]
        inside, takes = book.project_in.weight.shape if book.project_in else (codes, codes)
        gives, outside = book.project_out.weight.shape if book.project_out else (codes, codes)
        if not inside == codes == outside:
            reason = f"codes of {codes} dimensions between projections to {inside} and from {outside}"
            raise DataError(f"cannot be quantized: {book.name} has {reason}; give codes, or no data")
        widths |= {takes, gives}
    if state.project_in:
        widths.add(state.project_in.weight.shape[0])
    if len(widths) > 1 or len({re.sub(r"\d+", "", book.name) for book in state.books}) > 1:
        names = f"{state.books[0].name} to {state.books[-1].name}"
        remedy = "give a checkpoint of one quantizer, codes, or no data"
        raise DataError(f"cannot be quantized: {names} do not fit each other as layers of one quantizer; {remedy}")
    return state.project_in.weight.shape[1] if state.project_in else widths.pop()


def observe_counts(state: QuantizerState, counts: Sequence[Tensor]) -> list[Observed]:
    """Usage from the counts [K] of the first layers' codes."""
    if len(counts) > len(state.books):
        raise DataError(f"the codes have {len(counts)} layers, the checkpoint has {len(state.books)}")
    observed = []
    for layer, (count, book) in enumerate(zip(counts, state.books, strict=False), start=1):
        size = len(book.vectors)
        if len(count) > size:
            raise DataError(f"layer {layer} has a code {len(count) - 1}, but its codebook only {size} codes")
        observed.append(Observed(F.pad(count, (0, size - len(count)))))
    return observed


def as_tensor(array: Any) -> Tensor:
    return array if isinstance(array, Tensor) else torch.as_tensor(np.asarray(array))


def read_counts(data: Any) -> list[Tensor]:
    """Counts of each layer's codes: of an array [N, L] (or [N] for one layer), or a token table (.parquet)."""
    if isinstance(data, str | Path):
        return _counts_of_table(Path(data))
    codes = as_tensor(data).cpu().numpy()
    codes = codes[:, None] if codes.ndim == 1 else codes
    if codes.ndim != 2 or not codes.size or not np.issubdtype(codes.dtype, np.integer) or codes.min() < 0:
        raise DataError(f"codes are non-negative integers [N, L], not {codes.dtype} {list(codes.shape)}")
    return [torch.from_numpy(np.bincount(column)) for column in codes.T]


def _counts_of_table(path: Path) -> list[Tensor]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = [name for name in Tokens(path, (0,) * len(names), 0.0).code_columns if name in names]
            counts = [torch.from_numpy(np.bincount(file.read([name])[name].to_numpy())) for name in columns]
    except (OSError, ValueError, TypeError) as error:  # of Arrow, or of NumPy for what is no code
        raise DataError(f"not a table of tokens ({error})") from error
    if not counts or not counts[0].sum():
        raise DataError("not a table of tokens: it has no codes in columns code_1, code_2, ...")
    return counts


def read_vectors(data: Any) -> Tensor:
    """Encoder outputs: an array [N, D], or a .npy or .safetensors file of arrays [..., D], joined to [N, D]."""
    if not isinstance(data, str | Path):
        return as_tensor(data)
    path = Path(data)
    if path.suffix == ".npy":
        try:
            parts = [torch.from_numpy(np.load(path))]
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise DataError(f"not an array of numbers ({error})") from error
    elif path.suffix == ".safetensors":
        tensors = load_tensors(path)
        if len(tensors) != 1 and tensors.keys() != {"train", "eval"}:
            raise DataError(f"expected one tensor of encoder outputs, or train and eval, got {len(tensors)}")
        parts = list(tensors.values())
    else:
        raise DataError("data are a token table (.parquet) or encoder outputs (.npy, .safetensors)")
    for part in parts:
        if not part.is_floating_point() or part.ndim < 2 or part.shape[-1] != parts[0].shape[-1]:
            raise DataError(f"encoder outputs are floats [N, D], not {part.dtype} {list(part.shape)}")
    return torch.cat([part.flatten(0, -2) for part in parts])
