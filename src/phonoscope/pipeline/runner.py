"""One run of a stage: check its parameters and inputs, do its work, track its results."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from phonoscope import paths
from phonoscope.config.params import Params, load_params
from phonoscope.errors import NotApplicable
from phonoscope.pipeline.base import Stage, StageReport, named_parameters, stages

log = logging.getLogger(__name__)


def run_stage(name: str, params_file: Path, item: str | None = None) -> None:
    """Check the parameters and the inputs of a stage, run it, track it. A stage that is not applicable steps aside."""
    stage, params = stages()[name], load_params(params_file)
    stage.check(params, item)
    check_choices(params)
    address = f"{name}@{item}" if item else name
    with _alone(address):
        from phonoscope.pipeline.integrity.inputs import check_inputs, naming_bad_inputs, stage_inputs

        inputs = stage_inputs(address, params.model_dump(mode="json"))
        check_inputs(inputs)
        from phonoscope import tracking

        with tracking.stage_run(address, stage.values(params, item), params.tracking) as recorder:
            with naming_bad_inputs(inputs):
                report = _run_or_step_aside(stage, params, item, [given.path for given in inputs])
            recorder.log({**report.metrics, **report.by_layer, **report.by_epoch}, report.figures)
            recorder.tag_not_applicable(report.not_applicable)
            if name == "summary":
                summary = json.loads(paths.SUMMARY.read_text(encoding="utf-8"))
                recorder.finish_parent(summary, report.not_applicable)


def _run_or_step_aside(stage: Stage, params: Params, item: str | None, inputs: Iterable[Path]) -> StageReport:
    from phonoscope.pipeline.aside import reason_in, step_aside
    from phonoscope.pipeline.integrity.inputs import stage_outputs

    try:
        if not stage.reads_what_is_there:
            for path in inputs:
                if reason := reason_in(path):
                    raise NotApplicable(reason)
        return stage.run(params, item) if item else stage.run(params)
    except NotApplicable as error:
        address, reason = f"{stage.name}@{item}" if item else stage.name, str(error)
        outputs = stage_outputs(address, params.model_dump(mode="json"))
        if not outputs:
            raise
        log.warning("%s: not applicable: %s", address, reason)
        return StageReport(figures=step_aside(outputs, reason), not_applicable={address: reason})


def check_choices(params: Params) -> None:
    """Raise `ParamsError` with the key for an unknown corpus source, or a codec that cannot be built."""
    from phonoscope.codecs.registry import check_config
    from phonoscope.corpus.registry import check_source

    with named_parameters("corpus"):
        check_source(params.corpus.source)
    for name, config in params.codecs.items():
        with named_parameters(f"codecs.{name}"):
            check_config(config)


@contextmanager
def _alone(address: str) -> Iterator[None]:
    """Wait for another process that runs the same stage: a killed `dvc` leaves its stage running."""
    from filelock import FileLock, Timeout

    folder = paths.STATE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{address}.lock")
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        log.warning("%s: waiting for another process that runs this stage", address)
        held = lock.acquire()
    with held:
        yield
