"""Parameters of the tokens and of the reconstructions."""

from __future__ import annotations

from pydantic import Field

from phonoscope.config.section import Section


class EncodeConfig(Section):
    """How the corpus becomes tokens, and on what the codecs are judged."""

    reconstructions: int = Field(default=48, ge=1)
    """Eval utterances that are decoded from every number of layers, spread evenly over the eval split."""
