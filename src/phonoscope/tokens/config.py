"""Parameters of the tokens and of the reconstructions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EncodeConfig(BaseModel):
    """How the corpus becomes tokens, and on what the codecs are judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reconstructions: int = Field(default=48, ge=1)
    """Eval utterances that are decoded from every number of layers, spread evenly over the eval split."""
