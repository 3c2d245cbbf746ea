"""Whisper weights in CTranslate2's binary form (`model.bin`), read strictly and mapped one to one onto transformers.

The file, little-endian: uint32 version, string spec, uint32 revision, uint32 count; then per variable: string name,
uint8 rank, rank x uint32 dims, uint8 dtype, uint32 bytes, data; then uint32 count of aliases (string, string).
A string is a uint16 length, which counts the closing NUL, and its characters.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.errors import DataError

if TYPE_CHECKING:
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    Variables = dict[str, np.ndarray[Any, np.dtype[Any]]]

VERSION, SPEC, REVISION = 6, "WhisperSpec", 3
DTYPES: list[np.dtype[Any]] = [np.dtype(code) for code in ("<f4", "i1", "<i2", "<i4", "<f2")]
FIX = "convert the checkpoint again with ct2-transformers-converter --quantization float16"

_MODULES = {
    "self_attention/layer_norm": "self_attn_layer_norm", "self_attention/linear_0": "self_attn.qkv",
    "self_attention/linear_1": "self_attn.out_proj", "attention/layer_norm": "encoder_attn_layer_norm",
    "attention/linear_0": "encoder_attn.q_proj", "attention/linear_1": "encoder_attn.kv",
    "attention/linear_2": "encoder_attn.out_proj", "ffn/layer_norm": "final_layer_norm", "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2", "position_encodings": "embed_positions", "embeddings": "embed_tokens",
}  # fmt: skip
_LEAVES = {"gamma": "weight", "beta": "bias", "encodings": "weight"}


class _Reader:
    """A cursor over the bytes of one file; every step is checked against the end."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.offset = path, path.read_bytes(), 0

    def fail(self, reason: str) -> DataError:
        return DataError(f"{self.path}: not a readable CTranslate2 model ({reason}); {FIX}")

    def expect(self, what: str, value: object, wanted: object) -> None:
        if value != wanted:
            raise self.fail(f"{what} is {value!r}, not {wanted!r}")

    def take(self, size: int) -> bytes:
        if self.offset + size > len(self.data):
            raise self.fail(f"truncated: {size} bytes wanted at offset {self.offset} of {len(self.data)}")
        self.offset += size
        return self.data[self.offset - size : self.offset]

    def integer(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self.take(struct.calcsize(form)))[0])

    def string(self) -> str:
        raw = self.take(self.integer("H"))
        if raw[-1:] != b"\0" or not raw.isascii():
            raise self.fail(f"broken string before offset {self.offset}")
        return raw[:-1].decode("ascii")

    def variable(self) -> tuple[str, np.ndarray[Any, np.dtype[Any]]]:
        name = self.string()
        rank = self.integer("B")
        if rank > 3:
            raise self.fail(f"{name} has rank {rank}, which no Whisper tensor has")
        shape = [self.integer("I") for _ in range(rank)]
        code, size = self.integer("B"), self.integer("I")
        if code >= len(DTYPES):
            raise self.fail(f"unknown dtype {code} of {name}")
        if size != math.prod(shape) * DTYPES[code].itemsize:
            raise self.fail(f"{name} has {size} bytes, which is not what {DTYPES[code]} of shape {shape} needs")
        return name, np.frombuffer(self.take(size), DTYPES[code]).reshape(shape)


def read_ct2(path: Path) -> Variables:
    """Read every variable of a `model.bin`, aliases included. Raises `DataError` for any deviation from the format."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; a CTranslate2 checkpoint is a folder that holds model.bin")
    reader = _Reader(path)
    reader.expect("binary version", reader.integer("I"), VERSION)
    reader.expect("spec", reader.string(), SPEC)
    reader.expect("revision", reader.integer("I"), REVISION)
    variables: Variables = {}
    for _ in range(reader.integer("I")):
        name, array = reader.variable()
        if name in variables:
            raise reader.fail(f"{name} occurs twice")
        variables[name] = array
    for _ in range(reader.integer("I")):
        alias, name = reader.string(), reader.string()
        if name not in variables:
            raise reader.fail(f"alias {alias} of {name}, which does not exist")
        variables[alias] = variables[name]
    if reader.offset != len(reader.data):
        raise reader.fail(f"{len(reader.data) - reader.offset} bytes after the end")
    return variables


def _target_names(name: str) -> list[str]:
    """The transformers names that one CTranslate2 variable is stacked from, in order."""
    match = re.fullmatch(r"(encoder|decoder)/(?:layer_(\d+)/)?(.+)/(\w+)", name)
    if match is None or match[3] == "projection":  # the one module outside encoder and decoder
        return ["proj_out.weight" if match else name]
    side, layer, module, leaf = match.groups()
    module, leaf = _MODULES.get(module, module), _LEAVES.get(leaf, leaf)
    block = f"model.{side}.layers.{layer}" if layer else f"model.{side}"
    attention, _, stack = module.rpartition(".")
    # CTranslate2 stacks the projections that share an input, to multiply once
    parts = [f"{attention}.{part}_proj" for part in stack] if stack in ("qkv", "kv") else [module]
    return [f"{block}.{part}.{leaf}" for part in parts]


def to_transformers(variables: Variables) -> dict[str, torch.Tensor]:
    """The state dict of `WhisperForConditionalGeneration`, float32."""
    import torch

    state: dict[str, torch.Tensor] = {}
    for name, array in variables.items():
        if array.ndim == 0:  # settings, not weights
            continue
        targets = _target_names(name)
        for target, part in zip(targets, np.split(array, len(targets)), strict=True):
            # transformers has no key bias: q (k + b) = q k + q b shifts all scores of a query alike, unseen by softmax
            if not target.endswith(".k_proj.bias"):
                state[target] = torch.from_numpy(part.astype(np.float32))
    return state


def build_config(variables: Variables) -> WhisperConfig:
    """transformers' configuration, from the shapes of the tensors. Raises `LookupError` if a tensor is missing."""
    from transformers import WhisperConfig

    vocabulary, width = variables["decoder/embeddings/weight"].shape
    sizes = {"vocab_size": vocabulary, "d_model": width, "num_mel_bins": variables["encoder/conv1/weight"].shape[1]}
    for side, positions in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        sizes |= {
            positions: variables[f"{side}/position_encodings/encodings"].shape[0],
            f"{side}_layers": len({m[0] for name in variables if (m := re.match(rf"{side}/layer_\d+/", name))}),
            f"{side}_ffn_dim": variables[f"{side}/layer_0/ffn/linear_0/weight"].shape[0],
            f"{side}_attention_heads": int(variables[f"{side}/num_heads"]),
        }
    return WhisperConfig(**sizes, pad_token_id=None)


def load_ct2(path: Path) -> WhisperForConditionalGeneration:
    """Build the transformers model of a `model.bin`, in eval mode, float32. Every key must match.

    Raises: `DataError` if the file cannot be read, is quantized to integers, is not finite, or lacks or adds a tensor.
    """
    import torch
    from transformers import WhisperForConditionalGeneration

    variables = read_ct2(path)
    if integer := sorted(n for n, a in variables.items() if a.ndim > 1 and not np.issubdtype(a.dtype, np.floating)):
        raise DataError(f"{path}: integer weights ({integer[0]}, ...) are not supported; {FIX}")
    try:
        with torch.device("meta"):  # without weights, so that no random number is drawn
            model = WhisperForConditionalGeneration(build_config(variables))
        model.load_state_dict(to_transformers(variables), strict=True, assign=True)
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise DataError(f"{path}: its tensors do not make a Whisper model ({error!r}); {FIX}") from error
    model.tie_weights()
    if not all(tensor.isfinite().all() for tensor in model.parameters()):
        raise DataError(f"{path}: some weights are not finite; {FIX}")
    return model
