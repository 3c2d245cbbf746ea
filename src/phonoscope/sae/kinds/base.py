"""What a kind decides: which features are active in training and in inference, the penalty, the threshold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from phonoscope.config.section import Section
from phonoscope.sae.selection import above
from phonoscope.sae.sparse import Pattern

if TYPE_CHECKING:
    from torch import Tensor

    from phonoscope.sae.models import SparseAutoencoder


class Kind(Section):
    """Base of the kinds; the fields of a subclass are its options. A kind without overrides is a plain ReLU."""

    architecture: ClassVar[Literal["standard", "topk", "jumprelu"]] = "jumprelu"
    """SAELens' name of the inference form. Only `jumprelu` has a threshold on disk."""
    learns_threshold: ClassVar[bool] = False
    """Whether the threshold is a trained parameter."""

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
        """Entries of scores [n, d_sae] that are active in inference."""
        return above(scores, model.threshold)

    def read_at(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        """Let `model.shape.k` features a frame through in inference, whatever k the weights were trained with."""
        model.calibrate(batches)
