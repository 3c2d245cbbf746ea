"""The codebooks inside a checkpoint of any known layout, recognised by the names and shapes of its tensors alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from phonoscope.errors import DataError
from phonoscope.files import read_safetensors, read_torch

SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".ckpt", ".bin")
KNOWN = "EnCodec, DAC, SpeechTokenizer (their own files or transformers'), vector-quantize-pytorch, EMA buffers by name"
LIVE = 1e-3  # EMA count above which the smoothing's epsilon no longer matters to a code
UNIT_TOLERANCE = 1e-2  # bfloat16 keeps two to three digits


@dataclass(frozen=True)
class Projection:
    """A linear map before the search or after it."""

    weight: Tensor  # [d_out, d_in]
    bias: Tensor  # [d_out]
    norm: tuple[Tensor, Tensor] | None = None  # weight and bias [d_out] of a layer norm that follows

    def tensors(self) -> list[Tensor]:
        return [self.weight, self.bias, *(self.norm or ())]

    def __call__(self, vectors: Tensor) -> Tensor:
        mapped = vectors @ self.weight.t() + self.bias
        return F.layer_norm(mapped, mapped.shape[1:], *self.norm) if self.norm else mapped


@dataclass(frozen=True)
class Book:
    """One layer's codebook, in float64. Raises `DataError` if its buffers do not fit each other."""

    name: str
    vectors: Tensor  # [K, d]
    sizes: Tensor | None = None  # [K] EMA counts
    sums: Tensor | None = None  # [K, d] EMA sums
    cosine: bool = False  # codes are compared by direction
    project_in: Projection | None = None
    project_out: Projection | None = None

    def __post_init__(self) -> None:
        codes = list(self.vectors.shape)
        if len(codes) != 2 or 0 in codes:
            raise DataError(f"{self.name}: a codebook is [codes, dimensions], not {tuple(codes)}")
        if self.sizes is not None and len(self.sizes) != codes[0]:
            raise DataError(f"{self.name}: {codes[0]} codes, but {len(self.sizes)} cluster sizes")
        if self.sizes is not None and bool((self.sizes < 0).any()):
            raise DataError(f"{self.name}: a cluster size is negative")
        if self.sums is not None and list(self.sums.shape) != codes:
            raise DataError(f"{self.name}: EMA sums are {list(self.sums.shape)}, the codes {codes}")

    @cached_property
    def updated(self) -> bool:
        """Whether the EMA ever ran: if codes learn by gradient, its buffers stay at ones or zeros."""
        return self.sizes is not None and not bool((self.sizes == 1).all() or (self.sizes == 0).all())

    @cached_property
    def live(self) -> Tensor:
        """Mask [K] of codes in use of late; of all non-zero codes if the state does not tell."""
        norms = self.vectors.norm(dim=1)
        live = (norms > 0) if self.sizes is None or not self.updated else (norms > 0) & (self.sizes > LIVE)
        return live if bool(live.any()) else torch.ones_like(live)

    @cached_property
    def unit(self) -> bool:
        """Whether the live codes are unit vectors, whose norms say nothing; dead ones may have shrunk to zero."""
        norms = self.vectors.norm(dim=1)
        short, long = norms[self.live].min() < 1 - UNIT_TOLERANCE, norms.max() > 1 + UNIT_TOLERANCE
        return self.cosine or (bool(norms.isfinite().all()) and not bool(short or long))

    def search(self, vectors: Tensor, batch: int = 8192) -> Tensor:
        """Nearest codes of residuals [N, D]: [N]."""
        return torch.cat([self._nearest(part) for part in vectors.split(batch)])

    def _nearest(self, vectors: Tensor) -> Tensor:
        points, rows = self.project_in(vectors) if self.project_in else vectors, self.vectors
        if self.cosine:
            points, rows = F.normalize(points), F.normalize(rows)
        elif self.unit:
            return (points @ rows.t()).argmax(dim=-1)  # by distance, a code shrunk to zero would win
        return torch.cdist(points, rows).argmin(dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Vectors of codes [N] in the latent's space: [N, D]."""
        rows = self.vectors[codes]
        return self.project_out(rows) if self.project_out else rows


@dataclass(frozen=True)
class QuantizerState:
    """The codebooks of a quantizer, layer 1 first, and the layout of their checkpoint."""

    layout: str
    books: list[Book]
    unit_inputs: bool = False  # inputs are L2-normalised before the search
    project_in: Projection | None = None  # a map before the first layer, shared by all


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, by dotted name; nothing is unpickled. A folder stands for its one file."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        named = [file for file in files if file.name == "model.safetensors"] or files
        if len(named) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise DataError(f"{path}: expected one file of weights in this folder, found {names}; name the file")
        path = named[0]
    if path.suffix == ".safetensors" and path.is_file():
        return read_safetensors(path)[0]
    return dict(_flat(read_torch(path), ""))


def _flat(content: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield prefix, content.detach()
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def read_state(tensors: Mapping[str, Tensor]) -> QuantizerState:
    """The codebooks among a checkpoint's tensors. Raises `DataError` if there is none, or its buffers do not fit."""
    named = [(name, book) for name in tensors if (book := _book(tensors, name)) is not None]
    if not named:
        raise DataError(f"no codebook among its {len(tensors)} tensors; known layouts: {KNOWN}")
    # by number, so that layer 10 follows layer 9
    named.sort(key=lambda pair: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", pair[0])])
    unit = any(bool(tensor.any()) for name, tensor in tensors.items() if name.rpartition(".")[2] == "unit_inputs")
    stack = re.fullmatch(r"(.*?)layers\.\d+\._codebook\.embed", named[0][0])
    shared = _linear(tensors, f"{stack[1]}project_in") if stack else None
    return QuantizerState(_layout(named[0][0], tensors), [book for _, book in named], unit, shared)


def _book(tensors: Mapping[str, Tensor], name: str) -> Book | None:
    """The codebook whose vectors are the tensor `name`, if it is one."""
    owner, _, leaf = name.rpartition(".")
    dot = f"{owner}." if owner else ""
    if leaf == "embed" and f"{dot}cluster_size" in tensors:
        return _ema(tensors, name, f"{dot}cluster_size", [f"{dot}embed_avg"])
    table = name.removesuffix(".weight")
    parent = table.removesuffix("embedding")
    if table.endswith("embedding") and f"{parent}ema_cluster_size" in tensors:
        sums = [f"{parent}{leaf}" for leaf in ("ema_sum", "ema_w", "ema_embedding", "ema_w.weight")]
        return _ema(tensors, name, f"{parent}ema_cluster_size", sums)
    if leaf == "codebook" and tensors[name].ndim >= 2:
        return _ema(tensors, name, f"{dot}cluster_size", [f"{dot}embed_avg", f"{dot}sums"])
    if leaf == "weight" and owner.endswith("codebook"):
        return _factorised(tensors, name, owner.removesuffix("codebook"))
    if leaf == "frozen_codebook" and f"{dot}code_transform.weight" in tensors:
        rows, weight = tensors[name].double(), tensors[f"{dot}code_transform.weight"].double()
        if rows.ndim != 2 or weight.ndim != 2 or rows.shape[1] != weight.shape[1]:
            raise DataError(f"{owner}: codes {list(rows.shape)} do not fit their transform {list(weight.shape)}")
        return Book(owner, rows @ weight.t())
    return None


def _ema(tensors: Mapping[str, Tensor], name: str, sizes: str, sums: list[str]) -> Book:
    """Buffers of one codebook; of several tensors of sums, the one that has the codes' shape."""
    vectors, size = _one_head(tensors[name]), tensors.get(sizes)
    present = (_one_head(tensors[key]) for key in sums if key in tensors)
    fitting = next((tensor for tensor in present if tensor.shape == vectors.shape), None)
    owner = name.rpartition(".")[0]
    sides: dict[str, Any] = {}
    if owner.endswith("_codebook"):
        parent = owner.removesuffix("_codebook")
        sides = {side: _linear(tensors, f"{parent}{side}") for side in ("project_in", "project_out")}
    return Book(name, vectors, None if size is None else size.double().reshape(-1), fitting, **sides)


def _one_head(tensor: Tensor) -> Tensor:
    """The tensor without a leading axis of one head."""
    return (tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor).double()


def _linear(tensors: Mapping[str, Tensor], name: str) -> Projection | None:
    """A linear map, alone or first in a sequence with a layer norm."""
    plain, first = _projection(tensors, name), _projection(tensors, f"{name}.0")
    weight, bias = (tensors.get(f"{name}.1.{leaf}") for leaf in ("weight", "bias"))
    if plain or first is None or weight is None:
        return plain or first
    bias = torch.zeros_like(weight) if bias is None else bias
    if not weight.shape == bias.shape == first.bias.shape:
        raise DataError(f"{name}: its layer norm is of {list(weight.shape)}, its map gives {list(first.bias.shape)}")
    return replace(first, norm=(weight.double(), bias.double()))


def _factorised(tensors: Mapping[str, Tensor], name: str, parent: str) -> Book | None:
    """DAC's layer: projected, searched by direction, projected back."""
    project_in, project_out = (_projection(tensors, f"{parent}{side}") for side in ("in_proj", "out_proj"))
    if project_in is None or project_out is None:
        return None
    return Book(name, tensors[name].double(), cosine=True, project_in=project_in, project_out=project_out)


def _projection(tensors: Mapping[str, Tensor], name: str) -> Projection | None:
    """A linear map or 1x1 convolution, plain or in one of torch's two forms of weight norm."""
    weight, length = tensors.get(f"{name}.weight"), None
    for g, v in (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")):
        if f"{name}.{g}" in tensors and f"{name}.{v}" in tensors:
            weight, length = tensors[f"{name}.{v}"], tensors[f"{name}.{g}"]
    if weight is None:
        return None
    bias = tensors.get(f"{name}.bias", weight.new_zeros(weight.shape[:1]))
    sizes = [tensor.numel() for tensor in (bias, length) if tensor is not None]
    if weight.ndim < 2 or weight.shape[2:].numel() != 1 or any(size != len(weight) for size in sizes):
        shapes = ", ".join(str(list(tensor.shape)) for tensor in (weight, bias, length) if tensor is not None)
        raise DataError(f"{name}: no linear map or convolution of width 1, its tensors are {shapes}")
    matrix = weight.double().flatten(1)
    if length is not None:
        matrix = F.normalize(matrix) * length.double().reshape(-1, 1)
    return Projection(matrix, bias.double().reshape(-1))


def _layout(name: str, tensors: Mapping[str, Tensor]) -> str:
    owner = name.rpartition(".")[0]
    if f"{owner}.window_usage" in tensors or name.endswith("sim.frozen_codebook"):
        return "phonoscope"
    if f"{owner}.initted" in tensors or name.endswith("frozen_codebook"):
        return "vector-quantize-pytorch"
    if name.endswith("codebook.weight"):
        return "dac" if f"{owner.removesuffix('codebook')}in_proj.weight_g" in tensors else "transformers-dac"
    if "quantizer.vq.layers." in name:
        return "speechtokenizer" if "transform.weight" in tensors else "encodec"
    return "transformers-encodec" if name.endswith("codebook.embed") else "ema"
