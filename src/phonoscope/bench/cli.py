"""The commands of `phonoscope bench`; what they run is loaded when they run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from phonoscope import paths

app = typer.Typer(
    help="Time and memory of this repository's way against the plain way, on the same made-up data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
DEFAULT_FEATURES = paths.features("encoder_3")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Seed = Annotated[int, typer.Option(help="Seed of the made-up data.")]


@app.command()
def geometry(
    clips: Annotated[int, typer.Option(min=20, help="Clips.")] = 1000,
    layers: Annotated[int, typer.Option(min=1, help="RVQ layers.")] = 12,
    dims: Annotated[int, typer.Option(min=8, help="Dimensions that each layer is projected to.")] = 1024,
    direct: Annotated[
        bool, typer.Option(help="Run the plain way too, which may need more memory than there is.")
    ] = True,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Scores of concatenated projections: through their Gram matrix against the vectors themselves."""
    from phonoscope.bench.geometry import bench_geometry

    show(bench_geometry(clips=clips, layers=layers, dims=dims, seed=seed, direct=direct), as_json=as_json)


@app.command()
def probes(
    frames: Annotated[
        int | None, typer.Option(min=1000, help="Frames; 50,000, or 24 million of two codecs with --large.")
    ] = None,
    large: Annotated[bool, typer.Option("--large", help="48 probes of two codecs, without scikit-learn.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes of --large.")] = 2,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """A probe fitted to a table against scikit-learn on the frames behind it."""
    if large:
        from phonoscope.bench.large_probes import bench_large

        show(bench_large(frames=frames or 24_000_000, workers=workers, seed=seed), as_json=as_json)
    else:
        from phonoscope.bench.probes import bench_probes

        show(bench_probes(frames=frames or 50_000, seed=seed), as_json=as_json)


@app.command()
def sae(
    features: Annotated[Path, typer.Option(help="Folder that stage `features` wrote.")] = DEFAULT_FEATURES,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each side.")] = 500,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of each side.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Our BatchTopK trainer against dictionary-learning's, which gets an environment of its own."""
    from phonoscope.bench.sae import bench_folder

    environment = paths.STATE / "bench" / "dictionary-learning"
    found = bench_folder(features, steps=steps, device=device, threads=threads, environment=environment)
    show(found, as_json=as_json)


@app.command()
def encoders(
    batch: Annotated[int, typer.Option(min=2, help="Windows of a batch.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Batches that are timed, forward and training step each.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Audio encoders on codes and on mel frames: throughput, latency and peak memory; logged to MLflow too."""
    from phonoscope import tracking
    from phonoscope.bench.encoders import bench_encoders
    from phonoscope.config.params import load_params
    from phonoscope.pipeline.base import StageReport

    found = bench_encoders(batch=batch, rounds=rounds)
    flat = {f"{name}.{key}": value for name, rows in found.items() for key, value in rows.items()}
    with tracking.stage_run("bench-encoders", {"batch": batch, "rounds": rounds}, load_params().tracking) as recorder:
        recorder.log(StageReport(metrics=flat))
    show(found, as_json=as_json)


@app.command()
def encode(
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of a clip.")] = 10.0,
    batch: Annotated[int, typer.Option(min=2, help="Clips of a batch.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Runs that are timed.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each codec.")] = 1,
    official: Annotated[bool, typer.Option(help="Also models of the official sizes, with random weights.")] = True,
    as_json: AsJson = False,
) -> None:
    """Real-time factors of the codecs, clip by clip and in batches."""
    from phonoscope.bench.encode import bench_encode

    found = bench_encode(seconds=seconds, batch=batch, rounds=rounds, threads=threads, official=official)
    show(found, as_json=as_json)


def show(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a benchmark's scalars, as one JSON object or a line each."""
    if as_json:
        typer.echo(json.dumps(result, allow_nan=False))
        return
    flat = {
        f"{name}.{key}" if key else name: value
        for name, found in result.items()
        for key, value in (found.items() if isinstance(found, Mapping) else [("", found)])
    }
    width = max(map(len, flat))
    for name, value in flat.items():
        shown = f"{value:,.4g}" if isinstance(value, float) else "not run" if value is None else value
        typer.echo(f"{name:<{width}}  {shown}")
