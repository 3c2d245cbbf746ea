"""Which Whisper checkpoint is looked at, and how its activations are taken."""

from typing import Literal

from pydantic import Field

from phonoscope.config.section import Section

Normalize = Literal["final", "none"]


class WhisperConfig(Section):
    """The Whisper model: teacher of the distillation, judge of the reconstructions, source of features."""

    checkpoint: str = Field(default="packaged", min_length=1)  # `packaged` (whisper-tiny.en), a folder, or a Hub id
    normalize: Normalize = "final"  # `final`: the model's final layer norm on every residual layer; `none`: raw
    context_s: float = Field(default=8.0, ge=1.0, le=30.0, multiple_of=0.02)  # window of an utterance; 30 s if too long
    pack: bool = False  # windows of 30 s shared by a speaker's utterances: less work, other values (docs/sae.md)
    compare: int = Field(default=8, ge=0)  # eval utterances also encoded in 30 s, to see what windows change
    batch_s: float = Field(default=60.0, gt=0)  # seconds of windows that are encoded at once; bounds memory
