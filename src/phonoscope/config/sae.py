"""Parameters of the sparse autoencoders."""

from typing import Any, Literal

from pydantic import Field, field_validator

from phonoscope.config.section import Section
from phonoscope.config.sites import GRAMMAR, Site
from phonoscope.errors import ParamsError

Dead = Literal["auxk", "resample", "none"]


class SaeConfig(Section):
    """Sparse autoencoders of Whisper activations: what is trained, and how."""

    sites: tuple[str, ...] = ("encoder_2", "encoder_3", "encoder_4")
    """`encoder_<l>` and `decoder_<l>` have an autoencoder, `mlp_<l>` a transcoder, `encoder_all` a crosscoder."""
    kind: str = Field(default="matryoshka", min_length=1)  # kind of sparsity: a file of `phonoscope/sae/kinds`
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the kind, the fields of its class: `relu` has l1; `jumprelu` l0 and bandwidth; `matryoshka` groups."""
    expansion: int = Field(default=8, ge=1, le=64)  # features per input dimension
    k: int = Field(default=32, ge=1)  # active features a frame; for `jumprelu` the target L0. Not used by `relu`
    skip: bool = False  # transcoders: add an affine map of the input to the output
    epochs: float = Field(default=5.0, gt=0)  # passes over the train frames
    batch_size: int = Field(default=512, ge=1)  # frames a step
    lr: float = Field(default=3e-3, gt=0)  # Adam's learning rate
    warmup: float = Field(default=0.05, ge=0, lt=1)  # share of the steps over which the learning rate rises
    decay: float = Field(default=0.5, ge=0, le=1)  # share of the steps, at the end, over which it falls to zero
    grad_clip: float = Field(default=1.0, gt=0)  # largest norm of the gradient
    dead: Dead = "auxk"  # revival of dead features: an auxiliary loss (AuxK), resampling, or none
    dead_after: float = Field(default=0.5, gt=0)  # a feature is dead when it has not fired during this many passes
    aux_k: int = Field(default=64, ge=1)  # AuxK: dead features a frame that reconstruct the error
    aux_weight: float = Field(default=1 / 32, ge=0)  # AuxK: weight of its loss
    resample_every: float = Field(default=0.5, gt=0)  # resampling: passes between two rounds; the last quarter has none
    faithfulness: int = Field(default=24, ge=1)  # eval utterances that Whisper hears with the reconstruction in place
    seed: int = Field(default=42, ge=0)  # seed of the initial decoder and of the order of frames
    seeds: int = Field(default=2, ge=1)
    """Trainings, from `seed` on: those after the first only say how stable the features are, and cost as much."""
    log_every: int = Field(default=20, ge=1)  # steps a row of the training curve averages over
    checkpoint_every: int = Field(default=100, ge=1)  # steps between checkpoints, from which a killed training resumes

    @field_validator("sites")
    @classmethod
    def _sites(cls, sites: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sites)) < len(sites):
            raise ValueError("a site is listed twice")
        for name in sites:
            try:
                Site.parse(name)
            except ParamsError as error:
                raise ValueError(f"no site is called {name!r}; sites are {GRAMMAR}") from error
        return sites
