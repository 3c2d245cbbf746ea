"""The base of every section of params.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Parameters that cannot be changed once read; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
