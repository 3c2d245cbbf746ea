"""Parameters of the linear probes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ClassWeight = Literal["balanced", "none"]


class ClassifierConfig(BaseModel):
    """A multinomial logistic regression."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    C: float = Field(default=1.0, gt=0)
    """Inverse strength of the L2 penalty, scikit-learn's `C`."""
    max_iter: int = Field(default=1000, ge=1)
    """L-BFGS iterations; a fit that needs more is reported as not converged."""
    class_weight: ClassWeight = "balanced"
    """`balanced` gives every class the same total weight, `none` every frame."""


class PhoneConfig(ClassifierConfig):
    """The phone task."""

    silence: bool = False
    """Whether SIL is one of the classes; otherwise its frames are left out."""


class PitchConfig(BaseModel):
    """The pitch task: linear regression of F0 in Hz on voiced frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(default=0.0, ge=0)
    """Ridge penalty; 0 is ordinary least squares."""


class BootstrapConfig(BaseModel):
    """Intervals: percentile bootstrap over utterances."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(default=1000, ge=1)
    """Resamples of the eval utterances."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the interval."""


class ProbeConfig(BaseModel):
    """Linear decodability of phone, speaker and pitch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    """Seed of the permuted codebooks and of the bootstrap."""
    phone: PhoneConfig = PhoneConfig()
    """The phone probe."""
    speaker: ClassifierConfig = ClassifierConfig()
    """The speaker probe."""
    pitch: PitchConfig = PitchConfig()
    """The pitch probe."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """The intervals."""
    permutations: int = Field(default=1, ge=1)
    """Permuted codebooks a probe is refitted on; their scores are averaged."""
    vectors: Literal["sum", "raw"] = "sum"
    """Rows that are probed: as they enter the sum over layers, or as they are stored. Only DAC's and Mimi's differ."""
    matched_dims: int = Field(default=8, ge=1)
    """Size that rows are reduced to by PCA for the dimension-matched probe (metrics ending in `_matched`)."""
    tolerance: float = Field(default=1e-6, gt=0, le=1e-2)
    """A classifier has converged when no component of its scaled gradient exceeds this."""
