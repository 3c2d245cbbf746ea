"""Kinds of codecs: one module of `phonoscope.codecs.kinds` each, whose file name is the kind and which defines `KIND`.

Importing a kind loads no model package and no torch, so that a wrong parameter is refused before anything slow.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phonoscope.codecs import kinds
from phonoscope.errors import ParamsError, nearest

if TYPE_CHECKING:
    from phonoscope.codecs.base import Codec
    from phonoscope.config.codecs import CodecConfig

NO_CHECKPOINT = ("packaged", "scratch", "untrained")  # they stand for the small model of a kind


@dataclass(frozen=True)
class CodecKind:
    """One class of codecs, and how its models are made."""

    build: Callable[[dict[str, Any], int | None], Any]  # random weights; from architecture and RVQ layers (None: all)
    load: Callable[[str, int | None], Codec]  # from an official checkpoint, a path or a Hub id, and RVQ layers
    small: Mapping[str, Any] | None = None  # architecture that is trained here; None: models are only loaded
    small_layers: int = 0  # its RVQ layers
    official: Mapping[str, Any] | None = None  # architecture of the official model
    distils: bool = False  # whether RVQ layer 1 can be distilled from a teacher

    @property
    def trainable(self) -> bool:
        """Whether models of this kind can be trained here; only then is there an untrained control."""
        return self.small is not None


def kind_names() -> list[str]:
    """All kinds, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(kinds.__path__))


def codec_kind(name: str) -> CodecKind:
    """A kind by name. Raises `ParamsError` naming the nearest kind if there is none of this name."""
    names = kind_names()
    if name not in names:
        raise ParamsError(f"kind: no codec of kind {name!r}; {nearest(name, names)}")
    kind: CodecKind = importlib.import_module(f"{kinds.__name__}.{name}").KIND
    return kind


def check_config(config: CodecConfig) -> None:
    """Raise `ParamsError`, naming the field, if the kind of a codec is unknown or cannot do what its section asks."""
    kind = codec_kind(config.kind)
    if config.distill and not kind.distils:
        able = ", ".join(name for name in kind_names() if codec_kind(name).distils)
        raise ParamsError(f"distill: needs kind {able}, not {config.kind}")
    if not kind.trainable and (config.checkpoint in NO_CHECKPOINT or config.untrained):
        raise ParamsError(f"checkpoint: kind {config.kind} needs a checkpoint: a local folder or a Hub id")
    if not kind.trainable and config.adapt_steps not in ("auto", 0):
        raise ParamsError(f"adapt_steps: codecs of kind {config.kind} cannot be trained here; set it to 0")
    if kind.trainable and config.checkpoint in NO_CHECKPOINT and config.layers > kind.small_layers:
        raise ParamsError(f"layers: the small {config.kind} has {kind.small_layers} RVQ layers, not {config.layers}")
