"""The command line: one command a stage; those for the user are in `commands`."""

from __future__ import annotations

import errno
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from phonoscope import paths
from phonoscope.commands.app import ParamsFile
from phonoscope.commands.app import app as commands_app
from phonoscope.config.params import Params, load_params
from phonoscope.config.sae import SaeConfig
from phonoscope.errors import EnvironmentFault, PhonoscopeError

log = logging.getLogger(__name__)
app = typer.Typer(
    help="Look inside speech representations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
CodecName = Annotated[str, typer.Argument(help="A codec of params.yaml's section codecs.")]
SiteName = Annotated[str, typer.Argument(help="A site of params.yaml's key sae.sites.")]

_FULL = "; free some disk space, `phonoscope doctor` tells how much is needed"
_CLOSED = "; make it writable, or change its owner"
MENDS = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EACCES: _CLOSED, errno.EPERM: _CLOSED, errno.EROFS: _CLOSED}
"""What to do about a machine's refusals."""
SAE_KEYS = tuple(f"sae.{key}" for key in SaeConfig.model_fields if key not in ("sites", "checkpoint_every"))
"""All of section sae that a site's training depends on: another site in the list leaves it as it is."""
SECTIONS: dict[str, tuple[str, ...]] = {
    "corpus": ("corpus",),
    "align": ("alignment", "corpus.max_rejected"),
    "split": ("split",),
    "codec": (
        "codecs.{item}",
        "training",
        "corpus.source",
        "whisper.checkpoint",
        "compute.torch_threads",
        "compute.device",
    ),
    "encode": ("encode", "codecs.{item}.layers", "compute.torch_threads", "compute.device", "training.seed"),
    "probe": ("probe",),
    "depth": ("depth", "codecs.{item}.kind", "training", "compute.torch_threads", "compute.device"),
    "depth-report": ("codecs", "depth.bootstrap.confidence"),
    "geometry": ("geometry",),
    "geometry-report": ("codecs", "geometry.bootstrap.confidence", "geometry.perplexity"),
    "maps": ("codecs", "maps"),
    "sae": (*SAE_KEYS, "whisper", "compute.torch_threads", "compute.device"),
    "sae-report": ("sae.sites",),
    "interpret": ("interpret", "compute.torch_threads", "compute.device"),
    "browse": ("interpret.clip_s",),
    "features": ("whisper", "sae.sites", "compute.torch_threads", "compute.device"),
    "encoder": ("encoder", "compute.torch_threads", "compute.device"),
    "encoder-report": ("encoder", "compute.torch_threads", "compute.device"),
    "vq": ("vq", "compute.torch_threads"),
    "vq-report": ("vq.arms",),
    "causal": ("causal", "whisper", "compute.torch_threads", "compute.device"),
    "compare": ("codecs", "probe.bootstrap", "probe.matched_dims", "probe.seed"),
    "summary": ("codecs", "sae.sites"),
}
"""The parameters of each stage: what dvc.yaml lists, and what its MLflow run carries."""


def stage_params(params: Params, stage: str, item: str | None = None) -> dict[str, Any]:
    """A stage's own parameters, nested as in params.yaml; `item` is the codec, say, of a stage that is one of many."""
    everything = params.model_dump(mode="json")
    chosen: dict[str, Any] = {}
    for key in SECTIONS[stage]:
        source, target = everything, chosen
        *parents, leaf = key.format(item=item).split(".")
        for part in parents:
            source, target = source[part], target.setdefault(part, {})
        target[leaf] = source[leaf]
    return chosen


def run_stage(stage: str, params_file: Path, item: str | None = None) -> None:
    """Check the parameters and what other stages wrote for this one, run it, track it."""
    params = load_params(params_file)
    params.check_folders(stage)
    if item is not None:
        params.check_item(stage, item)
    name = f"{stage}@{item}" if item else stage
    with _alone(name):
        from phonoscope.pipeline.inputs import blamed, check_inputs, stage_inputs

        inputs = stage_inputs(name, params.model_dump(mode="json"))
        check_inputs(inputs)
        from phonoscope import tracking

        with tracking.stage_run(name, stage_params(params, stage, item), params.tracking) as recorder:
            run = importlib.import_module(f"phonoscope.pipeline.{stage.replace('-', '_')}").run
            with blamed(inputs):
                report = run(params, item) if item else run(params)
            recorder.log(report)
            if stage == "summary":
                tracking.finish_parent(recorder, json.loads(paths.SUMMARY.read_text(encoding="utf-8")))


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """A killed `dvc` leaves its stage running, and the next run of that stage would write the same files: it waits."""
    from filelock import FileLock, Timeout

    folder = paths.STATE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning("%s: waiting for another process that runs this stage", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only warnings.")] = False,
) -> None:
    os.environ["PHONOSCOPE_DEBUG"] = "1" if debug else ""
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(message)s", stream=sys.stderr, force=True
    )
    for noisy in ("alembic", "mlflow", "matplotlib", "numba", "httpx", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@app.command()
def corpus(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: gather the corpus as FLAC with a manifest."""
    run_stage("corpus", params)


@app.command()
def align(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: words, phones and F0 of every utterance."""
    run_stage("align", params)


@app.command()
def split(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: train and eval utterances, and speaker folds."""
    run_stage("split", params)


@app.command()
def codec(name: CodecName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: load, train or adapt one codec."""
    run_stage("codec", params, name)


@app.command()
def encode(name: CodecName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: one codec's tokens, codebooks and reconstruction quality."""
    run_stage("encode", params, name)


@app.command()
def probe(name: CodecName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: linear probes over every RVQ layer of one codec."""
    run_stage("probe", params, name)


@app.command()
def depth(name: CodecName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: one codec's sums of layers, latents and controls, in depth."""
    run_stage("depth", params, name)


@app.command("depth-report")
def depth_report(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: all codecs probed in depth, in figures and a table."""
    run_stage("depth-report", params)


@app.command()
def geometry(name: CodecName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: do isolated words cluster in one codec's space, and under which pooling."""
    run_stage("geometry", params, name)


@app.command("geometry-report")
def geometry_report(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: all codecs' geometry in figures, tables and words."""
    run_stage("geometry-report", params)


@app.command()
def maps(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: frames of chosen RVQ layers in the plane, by phone group, speaker and F0."""
    run_stage("maps", params)


@app.command()
def interpret(site: SiteName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: what the features of one site's sparse autoencoder stand for."""
    run_stage("interpret", params, site)


@app.command()
def browse(site: SiteName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: one site's features as a static page to search, see and listen to."""
    run_stage("browse", params, site)


@app.command()
def sae(site: SiteName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: a sparse autoencoder, transcoder or crosscoder of one site's activations."""
    run_stage("sae", params, site)


@app.command("sae-report")
def sae_report(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: the sparse autoencoders of all sites side by side."""
    run_stage("sae-report", params)


@app.command()
def features(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: Whisper's activations at every site."""
    run_stage("features", params)


@app.command()
def vq(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: digit classifiers under a faulty and a right quantizer, with and without HDP and HSMM."""
    run_stage("vq", params)


@app.command("vq-report")
def vq_report(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: why the codebook collapsed, in tables, figures and answers."""
    run_stage("vq-report", params)


@app.command()
def causal(site: SiteName, params: ParamsFile = paths.PARAMS) -> None:
    """Stage: ablate, steer and patch one site's features while Whisper listens."""
    run_stage("causal", params, site)


@app.command()
def compare(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: all codecs side by side, figures and the answer."""
    run_stage("compare", params)


@app.command()
def encoder(name: Annotated[str, typer.Argument(help="codes or mel.")], params: ParamsFile = paths.PARAMS) -> None:
    """Stage: audio encoders on codes or mel frames, trained to tell the word and the speaker."""
    run_stage("encoder", params, name)


@app.command("encoder-report")
def encoder_report(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: the arms of the code encoder, and every claim about it, measured."""
    run_stage("encoder-report", params)


@app.command()
def summary(params: ParamsFile = paths.PARAMS) -> None:
    """Stage: metrics/summary.json."""
    run_stage("summary", params)


app.add_typer(commands_app)


def _stop(signum: int, frame: object) -> None:
    """Leave by an exception, so that temporary files are removed and the run is marked KILLED."""
    sys.exit(128 + signum)


def main() -> None:
    """Run the command line; a refusal is one line and its own exit code, a traceback needs `--debug`."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(standalone_mode=True)
    except (PhonoscopeError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("PHONOSCOPE_DEBUG"):
            raise
        mend = MENDS.get(error.errno or 0, "") if isinstance(error, OSError) else ""
        if isinstance(error, ModuleNotFoundError):
            mend = "; `make setup` installs what requirements.lock lists"
        sys.stderr.write(f"phonoscope: {' '.join(str(error).split())}{mend}\n")
        sys.exit(error.exit_code if isinstance(error, PhonoscopeError) else EnvironmentFault.exit_code)
