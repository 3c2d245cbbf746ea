"""A linear probe as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Probe:
    """A fitted linear map on standardised vectors: `weight @ ((vector - mean) / scale) + bias`.

    `classes` is empty for a regression, which has one output. `objective` is the value minimised: scikit-learn's
    C * loss + penalty for a classifier, the residual sum of squares + penalty for a regression.
    """

    weight: NDArray[np.float64]
    """[outputs, dims]"""
    bias: NDArray[np.float64]
    """[outputs]"""
    mean: NDArray[np.float64]
    """[dims]"""
    scale: NDArray[np.float64]
    """[dims]"""
    classes: tuple[str, ...]
    objective: float
    converged: bool
    iterations: int

    def outputs(self, vectors: NDArray[Any]) -> NDArray[np.float64]:
        """Logits, or the predicted values of a regression. Shape [n, dims] -> [n, outputs]."""
        return ((vectors - self.mean) / self.scale) @ self.weight.T + self.bias

    def predict(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Indices into `classes`, or for a regression the values. Shape [n, dims] -> [n]."""
        outputs = self.outputs(vectors)
        return outputs.argmax(axis=1) if self.classes else outputs[:, 0]

    def predict_codes(self, codes: NDArray[np.integer], codebook: NDArray[Any]) -> NDArray[Any]:
        """`predict` for codes into a codebook [codes, dims]: one prediction a row, then a look-up. Shape [n] -> [n]."""
        return self.predict(codebook)[codes]
