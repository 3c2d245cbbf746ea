"""Codec weights: the packaged models, the form they are saved in here, and official checkpoints.

Heavy packages are imported inside functions: the parameters are checked against the kinds before torch is loaded.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope.codecs.registry import check_config, codec_kind, kind_names
from phonoscope.errors import DataError, ParamsError
from phonoscope.files import read_safetensors, write_json, write_safetensors

if TYPE_CHECKING:
    from phonoscope.codecs.base import Codec
    from phonoscope.config.codecs import CodecConfig

PACKAGED = Path(__file__).parent / "packaged"


def load_codec(source: str | Path, n_layers: int | None = None, *, kind: str | None = None) -> Codec:
    """A codec that is ready to encode, with its first `n_layers` RVQ layers (default: all).

    source: the name of a packaged model, a folder that `save_codec` wrote, a folder or Hub id in transformers' form,
    or, with its `kind` (such as `encodec`), the official checkpoint of a package. A `Path` is never taken for a name.
    Raises: `DataError` if the source is missing, broken, of another shape, or has fewer layers; `EnvironmentFault` if a
        Hub id cannot be fetched.
    """
    if kind is not None:
        return load_official(kind, source, n_layers)
    path = Path(source).expanduser()
    if isinstance(source, str) and (source in packaged_names() or not path.exists()):
        if source.count("/") == 1 and not source.startswith(("/", ".", "~")):
            return codec_kind("transformers").load(source, n_layers)
        return load_packaged(source, n_layers)
    if path.is_file():
        raise DataError(f"{path}: an official checkpoint needs its kind, one of {', '.join(kind_names())}")
    return _load_saved(path, n_layers)


def save_codec(codec: Codec, kind: str, folder: Path, *, half: bool = False) -> None:
    """Write `model.safetensors` and `config.json`. `half` stores float16, for the packaged models."""
    tensors = {
        name: tensor.half() if half and tensor.is_floating_point() else tensor
        for name, tensor in codec.model.state_dict().items()
        if not name.endswith(".embed_avg")  # embed times cluster_size: `load_codec` computes it again
    }
    write_safetensors(folder / "model.safetensors", tensors, {"kind": kind})
    write_json(folder / "config.json", {"kind": kind, "architecture": codec.architecture()})


def _load_saved(folder: Path, n_layers: int | None) -> Codec:
    """A codec that `save_codec` wrote, or one in transformers' form."""
    import torch

    config = read_config(folder)
    if "model_type" in config:
        return codec_kind("transformers").load(str(folder), n_layers)
    try:
        codec = codec_kind(config["kind"]).build(dict(config["architecture"]), n_layers)
    except (KeyError, TypeError, ValueError, ParamsError) as error:
        raise DataError(f"{folder / 'config.json'}: not a codec's config ({error!r})") from error
    tensors, _ = read_safetensors(folder / "model.safetensors")
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    for name in [name for name in state if name.endswith(".embed")]:
        sizes = state.get(name.removesuffix("embed") + "cluster_size", torch.zeros(len(state[name])))
        state[name + "_avg"] = state[name] * sizes[:, None]
    return load_strict(codec, state, folder / "model.safetensors")


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a folder's config.json. Raises `DataError` naming it."""
    path = folder / "config.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a codec's config ({error!r})") from error


def packaged_names() -> list[str]:
    """Names of the packaged models."""
    return sorted(path.parent.name for path in PACKAGED.glob("*/config.json"))


def load_packaged(name: str, n_layers: int | None = None) -> Codec:
    """A packaged model by name. Raises `DataError` if there is none, or its weights are not those of `SHA256SUMS`."""
    names = packaged_names()
    if name not in names:
        raise DataError(f"{name}: no such folder or packaged model; packaged are {', '.join(names) or 'none'}")
    weights, listing = PACKAGED / name / "model.safetensors", PACKAGED / "SHA256SUMS"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if not listing.is_file() or f"{digest}  {name}/{weights.name}" not in listing.read_text("utf-8").splitlines():
        reason = f"SHA-256 is {digest}, not that in {listing}"
        raise DataError(f"{weights}: {reason}; `git checkout` the file, or write its new sum there")
    return _load_saved(PACKAGED / name, n_layers)


def load_official(kind: str, checkpoint: str | Path, n_layers: int | None = None) -> Codec:
    """An official checkpoint, in the form in which the kind's package publishes it; nothing is unpickled."""
    maker, path = codec_kind(kind), Path(checkpoint).expanduser()
    if maker.trainable and not path.is_absolute() and not path.exists():
        raise DataError(f"{path}: no such checkpoint; give a path to a file; Hub ids need kind: transformers")
    return maker.load(str(checkpoint), n_layers)


def random_codec(kind: str, n_layers: int | None = None, architecture: dict[str, Any] | None = None) -> Any:
    """A codec with random weights, of the architecture given or the small one of its kind. Raises `ParamsError`."""
    maker = codec_kind(kind)
    chosen = architecture or maker.small
    if chosen is None:
        raise ParamsError(f"kind: {kind} has no small model; give an architecture")
    return maker.build(dict(chosen), n_layers)


def open_codec(name: str, config: CodecConfig) -> Any:
    """The codec of one section of the parameters, before any training. Raises `ParamsError` if the kind cannot."""
    check_config(config)
    if config.untrained and ":" in config.checkpoint:
        official = load_official(config.kind, config.checkpoint.partition(":")[2])
        return random_codec(config.kind, config.layers, official.architecture())
    if config.checkpoint in ("scratch", "untrained"):
        return random_codec(config.kind, config.layers)
    if config.checkpoint != "packaged":
        return load_official(config.kind, config.checkpoint, config.layers)
    codec = load_packaged(name, config.layers)
    kind = read_config(PACKAGED / name)["kind"]
    if kind != config.kind:
        raise DataError(f"{name}: kind is {config.kind}, but the packaged {name} is of kind {kind}")
    return codec


def load_strict(codec: Any, state: Any, path: Path) -> Any:
    """The codec with these weights, set to evaluation. Raises `DataError` naming the file if they do not fit."""
    try:
        codec.model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]  # torch's first line names the class only
        raise DataError(f"{path}: the weights do not fit the model ({' '.join(lines[1:2] or lines)[:200]})") from error
    codec.model.eval()
    return codec
