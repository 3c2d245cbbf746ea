"""Which Whisper checkpoint is looked at, and how its activations are taken."""

from typing import Literal

from pydantic import Field

from phonoscope.config.section import Section

Normalize = Literal["final", "none"]


class WhisperConfig(Section):
    """The Whisper model: teacher of the distillation, judge of the reconstructions, source of features."""

    checkpoint: str = Field(default="packaged", min_length=1)
    """`packaged` (OpenAI's whisper-tiny.en), a folder (transformers' or CTranslate2's form), or a Hub id."""
    normalize: Normalize = "final"
    """`final` applies the model's final layer norm to every layer of the residual stream; `none` leaves it raw."""
    context_s: float = Field(default=8.0, ge=1.0, le=30.0, multiple_of=0.02)
    """Window of one utterance, which silence fills up; one that does not fit gets Whisper's own 30 s."""
    pack: bool = False
    """Utterances of one speaker share windows of 30 s. It saves most of the work and changes much: docs/sae.md."""
    compare: int = Field(default=8, ge=0)
    """Eval utterances that are also encoded in the full 30 s, to see what the windows change."""
    batch_s: float = Field(default=60.0, gt=0)  # seconds of windows that are encoded at once; bounds memory
