"""Parameters of the linear probes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from phonoscope.config.section import Section

ClassWeight = Literal["balanced", "none"]


class ClassifierConfig(Section):
    """A multinomial logistic regression."""

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


class PitchConfig(Section):
    """The pitch task: linear regression of F0 in Hz on voiced frames."""

    alpha: float = Field(default=0.0, ge=0)
    """Ridge penalty; 0 is ordinary least squares."""


class BootstrapConfig(Section):
    """Intervals: percentile bootstrap over utterances."""

    samples: int = Field(default=1000, ge=1)
    """Resamples of the eval utterances."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the interval."""


class ProbeConfig(Section):
    """Linear decodability of phone, speaker and pitch."""

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


class MlpConfig(Section):
    """The probe with one hidden layer."""

    hidden: int = Field(default=64, ge=1)
    """Units of the hidden layer."""
    steps: int = Field(default=300, ge=1)
    """Steps of AdamW."""
    batch_size: int = Field(default=1024, ge=1)
    """Frames a step, for inputs that are no table; a table is taken whole."""
    lr: float = Field(default=0.01, gt=0)
    """Learning rate, which falls to 0 by a cosine."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay."""


InputName = Literal["layer", "cumulative", "latent", "untrained", "codes"]


class DepthConfig(Section):
    """Probing in depth: more inputs, controls and measures."""

    seed: int = Field(default=0, ge=0)
    """Seed of permuted labels, control tasks, blocks, networks and the bootstrap."""
    tasks: tuple[str, ...] = ("phone",)
    """What is probed: phone, phone_group, voicing, pitch_band, speaker, sex, accent, word; pitch is a regression."""
    information: tuple[str, ...] = (
        *("phone", "phone_group", "voicing", "pitch_band"),
        *("speaker", "sex", "accent", "word"),
    )
    """Tasks whose mutual information with the codes is measured, at every layer."""
    layers: tuple[int, ...] = (1, 2, 4, 8)
    """RVQ layers that are probed; those that a codec lacks are left out."""
    inputs: tuple[InputName, ...] = ("layer", "cumulative", "latent", "untrained")
    """What is probed: one layer's vectors, the sum of layers 1 to l, the latent before quantization, one layer of the
    codec with random weights, or (a check) the code as such, one-hot."""
    everything: bool = False
    """Every task at every layer, whatever `tasks` and `layers` say."""
    C: float = Field(default=1.0, gt=0)
    """Inverse strength of the linear probes' L2 penalty."""
    class_weight: ClassWeight = "balanced"
    """As for the probes of every layer."""
    max_iter: int = Field(default=300, ge=1)
    """L-BFGS iterations."""
    tolerance: float = Field(default=1e-4, gt=0, le=1e-2)
    """Largest component of the scaled gradient of a converged fit."""
    train_utterances: int = Field(default=240, ge=0)
    """Train utterances whose frames are probed, evenly spread, for every input the same; 0 takes all."""
    eval_utterances: int = Field(default=100, ge=0)
    """Eval utterances that probes are scored on; 0 takes all."""
    matched_dims: int = Field(default=8, ge=1)
    """Size that vectors are reduced to by PCA for the dimension-matched probe."""
    mlp: MlpConfig = MlpConfig()
    """The probe with one hidden layer."""
    blocks: tuple[float, ...] = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)
    """Rising shares of the train frames at which the blocks of the online code end; the last is 1."""
    permutations: int = Field(default=20, ge=2)
    """Permutations of the labels behind the mutual information's null."""
    text_folds: int = Field(default=5, ge=2)
    """Folds of held-out texts."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """The intervals."""

    @model_validator(mode="after")
    def _check(self) -> DepthConfig:
        if list(self.blocks) != sorted({*self.blocks}) or min(self.blocks, default=0) <= 0 or self.blocks[-1] != 1:
            raise ValueError("blocks must be rising shares above 0, the last of them 1")
        if min(self.layers, default=0) < 1:
            raise ValueError("layers must name at least one layer, from 1")
        return self
