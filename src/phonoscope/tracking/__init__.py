"""MLflow tracking: one run a stage, all stages of one repro under one parent run.

MLflow itself is imported on first use. Tracking changes no output of the pipeline.
"""

from phonoscope.tracking.runs import Recorder, stage_run
from phonoscope.tracking.store import main_checkout, tracking_uri, ui_command
from phonoscope.tracking.sync import sync_mlflow

__all__ = ["Recorder", "main_checkout", "stage_run", "sync_mlflow", "tracking_uri", "ui_command"]
