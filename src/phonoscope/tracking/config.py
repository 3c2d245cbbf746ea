"""How runs are tracked."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrackingConfig(BaseModel):
    """MLflow tracking. Nothing here changes any output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Log every stage to MLflow."""
    required: bool = False
    """Fail where the tracking store cannot be used, instead of warning and going on untracked."""
    experiment: str = Field(default="phonoscope", min_length=1, max_length=500)
    """The MLflow experiment that holds the runs."""
