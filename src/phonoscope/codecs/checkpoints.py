"""Codec weights on disk: the packaged models, this repository's own form, and the official files of three packages."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from phonoscope.codecs.dac import OFFICIAL_DAC, SMALL_DAC, DacCodec, build_dac
from phonoscope.codecs.seanet import (
    OFFICIAL_ENCODEC,
    OFFICIAL_SPEECHTOKENIZER,
    SMALL_ENCODEC,
    SMALL_SPEECHTOKENIZER,
    SeanetCodec,
    build_encodec,
    build_speechtokenizer,
)
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors, write_json, write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonoscope.codecs.base import Codec
    from phonoscope.config.codecs import CodecConfig

PACKAGED = Path(__file__).parent / "packaged"
BUILDERS: dict[str, Callable[[dict[str, Any], int | None], SeanetCodec | DacCodec]] = {
    "encodec": build_encodec,
    "dac": build_dac,
    "speechtokenizer": build_speechtokenizer,
}
OFFICIAL: dict[str, dict[str, Any]] = {
    "encodec": OFFICIAL_ENCODEC,
    "dac": OFFICIAL_DAC,
    "speechtokenizer": OFFICIAL_SPEECHTOKENIZER,
}
SMALL: dict[str, dict[str, Any]] = {
    "encodec": SMALL_ENCODEC,
    "dac": SMALL_DAC,
    "speechtokenizer": SMALL_SPEECHTOKENIZER,
}


def save_codec(codec: Codec, kind: str, folder: Path, *, half: bool = False) -> None:
    """Write `model.safetensors` and `config.json`. `half` stores float16, for the packaged models."""
    tensors = {
        name: tensor.half() if half and tensor.is_floating_point() else tensor
        for name, tensor in codec.model.state_dict().items()
        if not name.endswith(".embed_avg")  # embed times cluster_size, made again by `load_codec`
    }
    write_safetensors(folder / "model.safetensors", tensors, {"kind": kind})
    write_json(folder / "config.json", {"kind": kind, "architecture": codec.architecture()})


def load_codec(folder: Path, n_layers: int | None = None) -> Codec:
    """Read what `save_codec` wrote. Raises `DataError` if a file is missing, broken or of another shape."""
    kind, architecture = _read_config(folder)
    try:
        codec = _build(kind, architecture, n_layers)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'config.json'}: not a codec's config ({error!r}); run `dvc repro codec`") from error
    tensors, _ = read_safetensors(folder / "model.safetensors")
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    for name in [name for name in state if name.endswith(".embed")]:
        sizes = state.get(name.removesuffix("embed") + "cluster_size", torch.zeros(len(state[name])))
        state[name + "_avg"] = state[name] * sizes[:, None]
    _load_strict(codec, state, folder / "model.safetensors")
    return codec


def _read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Kind and architecture from config.json."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return config["kind"], dict(config["architecture"])
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run `dvc repro codec`") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a codec's config ({error!r}); run `dvc repro codec`") from error


def _build(kind: str, architecture: dict[str, Any], n_layers: int | None) -> Codec:
    if kind == "transformers":
        from phonoscope.codecs.hub import build_transformers

        return build_transformers(architecture, n_layers)
    return BUILDERS[kind](architecture, n_layers)


def build_small(kind: str, n_layers: int | None = None) -> SeanetCodec | DacCodec:
    """Our small model of an official class, with random weights."""
    return BUILDERS[kind](SMALL[kind], n_layers)


def build_official(kind: str, n_layers: int | None = None) -> SeanetCodec | DacCodec:
    """A model of an official class and size, with random weights."""
    return BUILDERS[kind](OFFICIAL[kind], n_layers)


def load_packaged(name: str, n_layers: int | None = None) -> Codec:
    """A packaged model by codec name. Raises `DataError` naming those there are."""
    if not (PACKAGED / name / "config.json").is_file():
        there = ", ".join(sorted(path.parent.name for path in PACKAGED.glob("*/config.json"))) or "none"
        raise DataError(f"codecs.{name}.checkpoint: no packaged model {name!r}; there are {there}")
    _check_sum(PACKAGED / name / "model.safetensors")
    return load_codec(PACKAGED / name, n_layers)


def _check_sum(weights: Path) -> None:
    """Raise `DataError` unless packaged weights have the SHA-256 that stands in `SHA256SUMS` beside their folder."""
    listing = weights.parents[1] / "SHA256SUMS"
    lines = [line.split() for line in listing.read_text(encoding="utf-8").splitlines()] if listing.is_file() else []
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if [found, weights.relative_to(listing.parent).as_posix()] not in lines:
        raise DataError(
            f"{weights}: SHA-256 is {found}, which {listing.name} does not have; `git checkout` the file, or, if you "
            f"trained it again, write its `sha256sum` into {listing}"
        )


def open_codec(name: str, config: CodecConfig) -> Any:
    """The codec that `config.checkpoint` names, before any training. Raises `DataError`, `EnvironmentFault`."""
    if config.untrained and ":" in config.checkpoint:
        official = load_official(config.kind, Path(config.checkpoint.partition(":")[2]).expanduser())
        return BUILDERS[config.kind](official.architecture(), config.layers)
    if config.checkpoint == "packaged":
        codec = load_packaged(name, config.layers)
        kind, _ = _read_config(PACKAGED / name)
        if kind != config.kind:
            raise DataError(f"codecs.{name}.kind is {config.kind}, but the packaged {name} is of kind {kind}")
        return codec
    if config.checkpoint in ("scratch", "untrained"):
        return build_small(config.kind, config.layers)
    if config.kind == "transformers":
        from phonoscope.codecs.hub import load_transformers

        return load_transformers(config.checkpoint, config.layers)
    return load_official(config.kind, Path(config.checkpoint).expanduser(), config.layers)


def load_official(kind: str, path: Path, n_layers: int | None = None) -> SeanetCodec | DacCodec:
    """An official checkpoint by path.

    encodec: `encodec_24khz-*.th`. dac: `weights*.pth`. speechtokenizer: the `.pt`, with its `config.json` beside it, or
    the folder that holds both. Only tensors and plain containers are read (`weights_only=True`); nothing is unpickled.
    Raises: `DataError` naming the file if it is missing, truncated or of another shape.
    """
    if kind == "speechtokenizer":
        return _official_speechtokenizer(path, n_layers)
    content = _torch_load(path)
    codec = build_encodec(OFFICIAL_ENCODEC, n_layers) if kind == "encodec" else _official_dac(content, path, n_layers)
    _load_strict(codec, content["state_dict"] if kind == "dac" else content, path)
    return codec


def _official_dac(content: Any, path: Path, n_layers: int | None) -> DacCodec:
    """The model that a DAC checkpoint's own metadata describe; like DAC's loader, it passes over unknown settings."""
    from dac.model.dac import DAC

    known = inspect.signature(DAC).parameters
    try:
        architecture = {key: value for key, value in content["metadata"]["kwargs"].items() if key in known}
        if "state_dict" not in content:
            raise KeyError("state_dict")
        return build_dac(architecture, n_layers)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a DAC checkpoint ({error!r}); give an official weights*.pth") from error


def _official_speechtokenizer(path: Path, n_layers: int | None) -> SeanetCodec:
    folder = path if path.is_dir() else path.parent
    weights = next(iter(sorted(folder.glob("*.pt"))), folder / "SpeechTokenizer.pt") if path.is_dir() else path
    config = folder / "config.json"
    try:
        codec = build_speechtokenizer(json.loads(config.read_text(encoding="utf-8")), n_layers)
    except FileNotFoundError as error:
        raise DataError(f"{config}: no such file; SpeechTokenizer's config.json lies beside its .pt") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{config}: not SpeechTokenizer's config ({error!r})") from error
    _load_strict(codec, _torch_load(weights), weights)
    return codec


def _torch_load(path: Path) -> Any:
    if not path.is_file():
        hint = "check the path" if path.is_absolute() else "give a path to a file; Hub ids need kind: transformers"
        raise DataError(f"{path}: no such checkpoint; {hint}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "it is damaged, or holds other objects than tensors, which are not read"
        raise DataError(f"{path}: not a torch checkpoint of weights ({reason}); download it again") from error
    except Exception as error:  # of a damaged file torch raises many kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path}: not a readable torch checkpoint ({reason}); download it again") from error


def _load_strict(codec: Codec, state: Any, path: Path) -> None:
    try:
        codec.model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = " ".join(lines[1:2] or lines)
        raise DataError(f"{path}: the weights do not fit the model ({reason[:200]})") from error
    codec.model.eval()
