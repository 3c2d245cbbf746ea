"""The base of every section of params.yaml, and the section that several share."""

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Parameters that cannot be changed once read; an unknown key, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BootstrapConfig(Section):
    """Percentile bootstrap intervals over utterances, clips or speakers."""

    samples: int = Field(default=1000, ge=1)  # resamples
    confidence: float = Field(default=0.95, gt=0, lt=1)  # coverage of the interval
