"""Which Whisper checkpoint is looked at."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class WhisperConfig(BaseModel):
    """The Whisper model: teacher of the distillation, judge of the reconstructions, source of features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(default="packaged", min_length=1)
    """`packaged` (OpenAI's whisper-tiny.en), a folder (transformers' or CTranslate2's form), or a Hub id."""
