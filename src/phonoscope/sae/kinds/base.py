"""What a kind decides: which features are active in training and in inference, the penalty, the threshold.

Every file of this folder registers one class under a name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ValidationError
from torch import Tensor

from phonoscope.config.section import Section
from phonoscope.errors import ParamsError, nearest
from phonoscope.sae.sparse import Pattern, above

if TYPE_CHECKING:
    from phonoscope.sae.models import SparseAutoencoder

_KINDS: dict[str, type[Kind]] = {}


class Kind(Section):
    """Base of the kinds; the fields of a subclass are its options. A kind without overrides is a plain ReLU."""

    architecture: ClassVar[Literal["standard", "topk", "jumprelu"]] = "jumprelu"
    """SAELens' name of the inference form. Only `jumprelu` has a threshold on disk."""
    learns_threshold: ClassVar[bool] = False  # whether the threshold is a trained parameter
    resampled_norm: ClassVar[float] = 1.0
    """Norm of a resampled feature's encoder row, relative to the mean of the live ones. A shorter row would stay below
    the threshold, or outside the k largest, and so stay dead."""

    def prefixes(self, width: int) -> tuple[int, ...]:
        """Numbers of leading features that reconstruct alone, ascending to all `width`."""
        return (width,)

    def start(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        """Prepare a freshly initialised model for training, in place. batches: inputs [n, d_in]."""

    def select(self, model: SparseAutoencoder, scores: Tensor) -> Pattern:
        """Entries of scores [n, d_sae] that take part in a training step."""
        return above(scores, 0.0)

    def activate(self, model: SparseAutoencoder, pattern: Pattern, values: Tensor) -> tuple[Tensor, Tensor]:
        """Activations [entries] of selected pre-activations `values` [entries], and the sparsity penalty, a scalar."""
        return values, values.new_zeros(())

    def finish(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        """Bring a trained model into its inference form, in place. batches: inputs [n, d_in]."""

    def active(self, model: SparseAutoencoder, scores: Tensor) -> Pattern:
        """Entries of scores [n, d_sae] that are active in inference; none is negative."""
        return above(scores, model.threshold.clamp(min=0))

    def read_at(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        """Let `model.shape.k` features a frame through in inference, whatever k the weights were trained with."""
        model.calibrate(batches)


def register(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Class decorator: make a kind known by a name. Raises `ValueError` if the name is taken."""

    def add(kind: type[Kind]) -> type[Kind]:
        if name in _KINDS:
            raise ValueError(f"kind {name!r} is registered already, by {_KINDS[name].__module__}")
        _KINDS[name] = kind
        return kind

    return add


def kinds() -> dict[str, type[Kind]]:
    """All kinds by name: those of this folder and those registered elsewhere."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")
    return dict(sorted(_KINDS.items()))


def build_kind(name: str, options: Mapping[str, Any]) -> Kind:
    """A kind with its options. Raises `ParamsError` for an unknown kind, naming the nearest, or a wrong option."""
    known = kinds()
    if name not in known:
        raise ParamsError(f"kind: no kind of sparse autoencoder is called {name!r}; {nearest(name, known)}")
    try:
        return known[name].model_validate_json(json.dumps(dict(options)), strict=True)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'options'}: {fault['msg']}" for fault in error.errors()]
        fields = ", ".join(known[name].model_fields) or "no options"
        raise ParamsError(f"options: of kind {name!r}: {'; '.join(faults)}; the kind has {fields}") from error
