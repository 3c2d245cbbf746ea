"""Command line of the benchmarks: `python -m benchmarks <name>`; each command imports its benchmark when it runs."""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from phonoscope import paths
from phonoscope.errors import PhonoscopeError
from phonoscope.tracking.store import flatten

app = typer.Typer(
    help="Time and memory of Phonoscope's methods against the plain methods, on the same data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
FEATURES = paths.features("encoder_3")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Seed = Annotated[int, typer.Option(help="Seed of the synthetic data.")]


@app.command()
def geometry(
    clips: Annotated[int, typer.Option(min=20, help="Clips.")] = 1000,
    layers: Annotated[int, typer.Option(min=1, help="RVQ layers.")] = 12,
    dims: Annotated[int, typer.Option(min=8, help="Output dimensions of each layer's projection.")] = 1024,
    direct: Annotated[bool, typer.Option(help="Run the direct method too, which may not fit into memory.")] = True,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Cluster scores of concatenated projections: in a compact basis against in full width."""
    from benchmarks.geometry import bench_geometry

    show(bench_geometry(clips=clips, layers=layers, dims=dims, seed=seed, direct=direct), as_json=as_json)


@app.command()
def probes(
    frames: Annotated[
        int | None, typer.Option(min=1000, help="Frames; default 50,000, or 24 million with --large.")
    ] = None,
    large: Annotated[bool, typer.Option("--large", help="48 probes of two codecs, without scikit-learn.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes of --large.")] = 2,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """A probe fitted to a contingency table against scikit-learn on the frames."""
    if large:
        from benchmarks.large_probes import bench_large

        show(bench_large(frames=frames or 24_000_000, workers=workers, seed=seed), as_json=as_json)
    else:
        from benchmarks.probes import bench_probes

        show(bench_probes(frames=frames or 50_000, seed=seed), as_json=as_json)


@app.command()
def sae(
    features: Annotated[Path, typer.Option(help="A site's folder of stage `features`.")] = FEATURES,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each trainer.")] = 500,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of each trainer.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Our BatchTopK trainer against dictionary-learning's, which runs in a separate virtual environment."""
    from benchmarks.sae import bench_folder

    environment = paths.STATE / "benchmarks" / "dictionary-learning"
    show(bench_folder(features, steps=steps, device=device, threads=threads, environment=environment), as_json=as_json)


@app.command()
def coverage(
    output: Annotated[Path, typer.Argument(help="The CSV to write.")],
    simulations: Annotated[int, typer.Option(min=2, help="Simulations of each design.")] = 600,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    seed: Seed = 0,
) -> None:
    """How often the study's intervals hold the truth, and its tests keep a true null, on made-up data."""
    from benchmarks.coverage import run
    from phonoscope.files import write_csv

    table = run(simulations, seed, workers)
    write_csv(output, table)
    typer.echo(table.to_string(index=False))


@app.command()
def encoders(
    batch: Annotated[int, typer.Option(min=2, help="Windows in a batch.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Timed forward passes and training steps.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Throughput, latency and peak memory of the audio encoders on codes and on mel frames; logged to MLflow too."""
    from benchmarks.encoders import bench_encoders
    from phonoscope import tracking
    from phonoscope.config.params import load_params

    result = bench_encoders(batch=batch, rounds=rounds)
    with tracking.stage_run("bench-encoders", {"batch": batch, "rounds": rounds}, load_params().tracking) as recorder:
        recorder.log(flatten(result))
    show(result, as_json=as_json)


@app.command()
def encode(
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of a clip.")] = 10.0,
    batch: Annotated[int, typer.Option(min=2, help="Clips in a batch.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Timed runs.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each codec.")] = 1,
    official: Annotated[bool, typer.Option(help="Also models of the official sizes, with random weights.")] = True,
    as_json: AsJson = False,
) -> None:
    """Real-time factors of the codecs, clip by clip and in batches."""
    from benchmarks.encode import bench_encode

    result = bench_encode(seconds=seconds, batch=batch, rounds=rounds, threads=threads, official=official)
    show(result, as_json=as_json)


def show(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a benchmark's scalars: one JSON object, or one line for each."""
    if as_json:
        typer.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    scalars = flatten(result)
    width = max(map(len, scalars))
    for name, value in scalars.items():
        text = f"{value:,.4g}" if isinstance(value, float) else "not run" if value is None else value
        typer.echo(f"{name:<{width}}  {text}")


def main() -> None:
    """Run the command line; an error of Phonoscope's is one line and its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except PhonoscopeError as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
