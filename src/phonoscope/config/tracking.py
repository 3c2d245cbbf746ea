"""How runs are tracked."""

from pydantic import Field

from phonoscope.config.section import Section


class TrackingConfig(Section):
    """MLflow tracking. Nothing here changes any output."""

    enabled: bool = True  # log every stage to MLflow
    required: bool = False  # fail where the tracking store cannot be used, instead of warning and going on
    experiment: str = Field(default="phonoscope", min_length=1, max_length=500)  # the MLflow experiment of the runs
