"""Parameters of the alignments and of the F0 tracks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from phonoscope.config.section import Section

Stress = Literal["strip", "keep"]


class AlignmentConfig(Section):
    """Where phones come from, and how F0 is tracked."""

    root: str = "corpora/espeak"  # folder of given TextGrids, searched recursively for `<utterance>.TextGrid`
    method: Literal["auto", "given", "events", "forced"] = "auto"  # `auto` is the first that an utterance has
    stress: Stress = "strip"  # `keep` leaves ARPABET's stress digits on the vowels (`AH0`); forced alignment has none
    f0_min_hz: float = Field(default=60.0, ge=40.0, le=1000.0)  # lowest F0; a window holds three of its periods
    f0_max_hz: float = Field(default=400.0, le=2000.0)  # highest F0
    f0_floor_db: float = Field(default=30.0, gt=0.0)  # frames so much weaker than the utterance's loudest are unvoiced

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.f0_max_hz < 2 * self.f0_min_hz:
            raise ValueError("f0_max_hz must be at least an octave above f0_min_hz")
        if self.method == "forced" and self.stress == "keep":
            raise ValueError("stress: keep needs method given or events; the forced aligner's dictionary has no stress")
        return self
