"""MLflow tracking: one run a stage, all stages of one repro under one parent run.

MLflow itself is imported on first use, and nothing that happens here changes an output of the pipeline.
"""

from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking.runs import Recorder, finish_parent, stage_run
from phonoscope.tracking.store import main_checkout, tracking_uri, ui_command
from phonoscope.tracking.sync import sync_mlflow

__all__ = [
    "Recorder",
    "TrackingConfig",
    "finish_parent",
    "main_checkout",
    "stage_run",
    "sync_mlflow",
    "tracking_uri",
    "ui_command",
]
