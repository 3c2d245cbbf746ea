"""The codebooks inside a checkpoint, whoever wrote it: recognised by the tensors' names and shapes alone."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phonoscope.errors import DataError

SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".ckpt", ".bin")
KNOWN = "EnCodec, DAC, SpeechTokenizer (their own files or transformers'), vector-quantize-pytorch, EMA buffers by name"


@dataclass(frozen=True)
class Projection:
    """A linear map before the search or after it: weight [d_out, d_in], bias [d_out]."""

    weight: Tensor
    bias: Tensor

    def __call__(self, vectors: Tensor) -> Tensor:
        return vectors @ self.weight.t() + self.bias


@dataclass(frozen=True)
class Book:
    """One layer's codebook, in float64.

    vectors: [K, d]. sizes: [K] EMA counts. sums: [K, d] EMA sums. cosine: codes are compared by direction.
    """

    name: str
    vectors: Tensor
    sizes: Tensor | None = None
    sums: Tensor | None = None
    cosine: bool = False
    project_in: Projection | None = None
    project_out: Projection | None = None

    def search(self, vectors: Tensor, batch: int = 8192) -> Tensor:
        """Nearest codes of residuals [N, D]: [N]."""
        return torch.cat([self._nearest(part) for part in vectors.split(batch)])

    def _nearest(self, vectors: Tensor) -> Tensor:
        points, rows = self.project_in(vectors) if self.project_in else vectors, self.vectors
        if self.cosine:
            points, rows = torch.nn.functional.normalize(points), torch.nn.functional.normalize(rows)
        return torch.cdist(points, rows).argmin(dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """What codes [N] add to the latent: [N, D]."""
        rows = self.vectors[codes]
        return self.project_out(rows) if self.project_out else rows


@dataclass(frozen=True)
class QuantizerState:
    """The codebooks of a quantizer, layer 1 first, and whose layout they were in."""

    layout: str
    books: list[Book]
    unit_inputs: bool = False
    """Inputs are L2-normalised before the search."""


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, by dotted name. A folder stands for the one file of weights in it.

    Only tensors and plain containers are read; nothing is unpickled. Raises `DataError` naming the file.
    """
    file = _weights_in(path) if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file}: no such checkpoint; give a file of weights or the folder that holds it")
    if file.suffix == ".safetensors":
        from phonoscope.files import read_safetensors

        return read_safetensors(file)[0]
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "it is damaged, or holds other objects than tensors, which are not read"
        raise DataError(f"{file}: not a torch checkpoint of weights ({reason})") from error
    except Exception as error:  # of a damaged file torch raises many kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{file}: not a readable torch checkpoint ({reason})") from error
    return dict(_flat(content, ""))


def _weights_in(folder: Path) -> Path:
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    named = [file for file in files if file.name == "model.safetensors"] or files
    if len(named) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise DataError(f"{folder}: there should be one file of weights in this folder, found {found}; name the file")
    return named[0]


def _flat(content: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield prefix, content.detach()
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def read_state(tensors: Mapping[str, Tensor]) -> QuantizerState:
    """The codebooks among a checkpoint's tensors. Raises `DataError` if there is none, or its buffers do not fit."""
    found = [(name, book) for name in tensors if (book := _book(tensors, name)) is not None]
    if not found:
        raise DataError(f"no codebook among its {len(tensors)} tensors; known layouts: {KNOWN}")
    found.sort(key=lambda pair: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", pair[0])])
    for _, book in found:
        _check(book)
    unit = any(bool(tensor.any()) for name, tensor in tensors.items() if name.rpartition(".")[2] == "unit_inputs")
    return QuantizerState(_layout(found[0][0], tensors), [book for _, book in found], unit)


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
        rows = tensors[name].double() @ tensors[f"{dot}code_transform.weight"].double().t()
        return Book(owner, rows)
    return None


def _ema(tensors: Mapping[str, Tensor], name: str, sizes: str, sums: list[str]) -> Book:
    """Buffers of one codebook; a leading axis of one head is dropped."""
    vectors = tensors[name].double()
    if vectors.ndim == 3 and len(vectors) == 1:
        vectors = vectors[0]
    there = [tensors[key].double().reshape(vectors.shape) for key in sums if _fits(tensors.get(key), vectors)]
    size = tensors.get(sizes)
    return Book(name, vectors, None if size is None else size.double().reshape(-1), there[0] if there else None)


def _fits(tensor: Tensor | None, vectors: Tensor) -> bool:
    return tensor is not None and tensor.numel() == vectors.numel()


def _factorised(tensors: Mapping[str, Tensor], name: str, parent: str) -> Book | None:
    """DAC's layer: projected, searched by direction, projected back."""
    project_in, project_out = (_projection(tensors, f"{parent}{side}") for side in ("in_proj", "out_proj"))
    if project_in is None or project_out is None:
        return None
    return Book(name, tensors[name].double(), cosine=True, project_in=project_in, project_out=project_out)


def _projection(tensors: Mapping[str, Tensor], name: str) -> Projection | None:
    """A 1x1 convolution, plain or in one of torch's two forms of weight norm."""
    forms = [("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")]
    for g, v in forms:
        if f"{name}.{g}" in tensors and f"{name}.{v}" in tensors:
            direction = tensors[f"{name}.{v}"].double().flatten(1)
            length = tensors[f"{name}.{g}"].double().flatten()[:, None]
            weight = direction / direction.norm(dim=1, keepdim=True) * length
            return Projection(weight, tensors[f"{name}.bias"].double())
    if f"{name}.weight" not in tensors:
        return None
    return Projection(tensors[f"{name}.weight"].double().flatten(1), tensors[f"{name}.bias"].double())


def _check(book: Book) -> None:
    if book.vectors.ndim != 2 or 0 in book.vectors.shape:
        raise DataError(f"{book.name}: a codebook is [codes, dimensions], not {tuple(book.vectors.shape)}")
    if book.sizes is not None and len(book.sizes) != len(book.vectors):
        raise DataError(f"{book.name}: {len(book.vectors)} codes, but {len(book.sizes)} cluster sizes")


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
