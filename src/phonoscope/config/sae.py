"""Parameters of the sparse autoencoders."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from phonoscope.config.section import Section

Kind = Literal["relu", "topk", "batchtopk", "jumprelu", "matryoshka"]
SITE = re.compile(r"(encoder|decoder)_\d+|(mlp|attention)_[1-9]\d*|encoder_all")
Dead = Literal["auxk", "resample", "none"]


class SaeConfig(Section):
    """Sparse autoencoders of Whisper activations: what is trained, and how."""

    sites: tuple[str, ...] = ("encoder_2", "encoder_3", "encoder_4")
    """Where: a layer (`encoder_<l>`, `decoder_<l>`) gives an autoencoder, `mlp_<l>` a transcoder, `encoder_all` a
    crosscoder over all encoder layers."""
    kind: Kind = "matryoshka"
    """What makes it sparse. `relu` with `expansion` 3 and no dead-feature handling is the v1 baseline."""
    expansion: int = Field(default=8, ge=1, le=64)
    """Features per input dimension."""
    k: int = Field(default=32, ge=1)
    """Active features a frame; for `jumprelu` the L0 aimed at. Not used by `relu`."""
    l1: float = Field(default=0.2, ge=0)
    """`relu`: weight of the L1 penalty."""
    l0: float = Field(default=1.0, ge=0)
    """`jumprelu`: weight of (L0 / k - 1)^2."""
    bandwidth: float = Field(default=0.05, gt=0)
    """`jumprelu`: width of the rectangle that stands for the threshold's derivative."""
    groups: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0)
    """`matryoshka`: shares of the features that reconstruct alone, ascending to 1."""
    skip: bool = False
    """Transcoders: add an affine map of the input to the output."""
    epochs: float = Field(default=5.0, gt=0)
    """Passes over the train frames."""
    batch_size: int = Field(default=512, ge=1)
    """Frames a step."""
    lr: float = Field(default=3e-3, gt=0)
    """Adam's learning rate."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    decay: float = Field(default=0.5, ge=0, le=1)
    """Share of the steps, at the end, over which it falls to zero."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    dead: Dead = "auxk"
    """What revives dead features: an auxiliary loss (AuxK), resampling, or nothing."""
    dead_after: float = Field(default=0.5, gt=0)
    """A feature is dead when it has not fired for this many passes' worth of frames."""
    aux_k: int = Field(default=64, ge=1)
    """AuxK: dead features a frame that reconstruct the error."""
    aux_weight: float = Field(default=1 / 32, ge=0)
    """AuxK: weight of its loss."""
    resample_every: float = Field(default=0.5, gt=0)
    """Resampling: passes between two rounds; the last quarter of the training has none."""
    faithfulness: int = Field(default=24, ge=1)
    """Eval utterances that Whisper hears through the reconstruction."""
    seed: int = Field(default=42, ge=0)
    """Seed of the initial decoder and of the order of frames."""
    log_every: int = Field(default=20, ge=1)
    """Steps a row of the training curve averages over."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between checkpoints, from which a killed training resumes."""

    @field_validator("sites")
    @classmethod
    def _sites(cls, sites: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sites)) < len(sites):
            raise ValueError("a site stands there twice")
        wrong = [site for site in sites if not SITE.fullmatch(site)]
        if wrong:
            there = "encoder_<n>, decoder_<n>, mlp_<n>, attention_<n>, encoder_all"
            raise ValueError(f"no site is called {wrong[0]!r}; there are {there}")
        return sites

    @field_validator("groups")
    @classmethod
    def _groups(cls, groups: tuple[float, ...]) -> tuple[float, ...]:
        if not groups or groups[0] <= 0 or list(groups) != sorted(set(groups)) or groups[-1] != 1:
            raise ValueError("shares must ascend from above 0 to 1")
        return groups
