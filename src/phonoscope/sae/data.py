"""Training frames: batches depend on seed and step alone, so that a training resumes exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phonoscope.compute import derive_seed
from phonoscope.config.sites import Form
from phonoscope.data import Features
from phonoscope.errors import DataError

SAMPLE = 16_384  # frames of the initial biases, of a resampling, and of the data's fingerprint
CHUNK = 65_536  # frames checked at once

Array = NDArray[Any] | Tensor


@dataclass(frozen=True)
class Frames:
    """Inputs [N, d_in] and outputs [N, d_out] of frames: the same array for an autoencoder.

    The arrays may be memory-mapped, of any float dtype. Raises `DataError` if there are no frames, or if one is not
    finite.
    """

    inputs: Array
    outputs: Array
    rows: NDArray[np.int64]  # rows of the arrays that are used, ascending: [n]

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise DataError("no frames for a sparse autoencoder; is the split empty?")
        if len(self.inputs) != len(self.outputs):
            raise DataError(f"{len(self.inputs)} inputs, but {len(self.outputs)} outputs")
        if not all(bool(part.isfinite().all()) for pair in self.batches(torch.device("cpu"), CHUNK) for part in pair):
            raise DataError("the features hold a value that is not finite")

    @classmethod
    def of(cls, inputs: Array, outputs: Array | None = None, rows: NDArray[np.int64] | None = None) -> Frames:
        """Frames of arrays: an autoencoder's without `outputs`; all rows without `rows`."""
        return cls(inputs, inputs if outputs is None else outputs, np.arange(len(inputs)) if rows is None else rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def same(self) -> bool:
        """Whether outputs are the inputs."""
        return self.outputs is self.inputs

    def to(self, device: torch.device) -> Frames:
        """The frames on a CUDA device, if they fit into half of its free memory; else unchanged."""
        size = self.inputs.nbytes + (0 if self.same else self.outputs.nbytes)
        if device.type != "cuda" or size > torch.cuda.mem_get_info(device)[0] / 2:
            return self
        inputs = torch.tensor(self.inputs, device=device)
        return replace(self, inputs=inputs, outputs=inputs if self.same else torch.tensor(self.outputs, device=device))

    def take(self, places: NDArray[np.int64] | slice, device: torch.device) -> tuple[Tensor, Tensor]:
        """float32 inputs and outputs of the frames at `places` among `rows`, on a device."""
        x = _gather(self.inputs, self.rows[places], device)
        return x, x if self.same else _gather(self.outputs, self.rows[places], device)

    def batches(self, device: torch.device, size: int = 4096) -> Iterator[tuple[Tensor, Tensor]]:
        """All frames in order, as `take` gives them."""
        return (self.take(slice(start, start + size), device) for start in range(0, len(self), size))

    def batch(self, step: int, size: int, seed: int) -> NDArray[np.int64]:
        """Places of a step's frames: each pass takes every frame once, in a new order."""
        n, start = len(self), step * size
        # a function of the step alone, without a generator whose state a checkpoint would have to keep; a batch may
        # begin in one pass and end in a later one
        passes = range(start // n, (start + size - 1) // n + 1)
        first = start - passes[0] * n
        return np.concatenate([_order(n, seed, index) for index in passes])[first : first + size]

    def sample(self, seed: int, size: int = SAMPLE) -> NDArray[np.int64]:
        """Places of at most `size` frames, ascending."""
        return np.sort(_order(len(self), derive_seed(seed, "sample"), 0)[:size])

    def fingerprint(self) -> str:
        """Hash of a sample of the frames; it differs between corpora and sites."""
        digest = hashlib.sha256(repr((len(self), *self.inputs.shape, *self.outputs.shape)).encode())
        for tensor in self.take(self.sample(0), torch.device("cpu")):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


def site_inputs(form: Form, values: NDArray[Any]) -> NDArray[Any]:
    """Inputs [rows, d_in] of a model in a site's features: an MLP's input; of several layers all, one after another."""
    return values[:, 0] if form == "transcoder" else values.reshape(len(values), -1)


def site_frames(form: Form, features: Features, split: str) -> Frames:
    """Frames of `train` or `eval` in a site's features."""
    inputs = site_inputs(form, features.values)
    return Frames.of(inputs, features.values[:, 1] if form == "transcoder" else None, features.rows(split))


def _gather(array: Array, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    if isinstance(array, Tensor):
        return array[torch.from_numpy(rows).to(array.device)].to(device).float()
    return torch.from_numpy(array[rows]).to(device).float()


@lru_cache(maxsize=2)
def _order(n: int, seed: int, index: int) -> NDArray[np.int64]:
    return np.random.default_rng(derive_seed(seed, "pass", index)).permutation(n)
