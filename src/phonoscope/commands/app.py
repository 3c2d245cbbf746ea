"""The commands beside the stages: each parses its arguments, calls its module and prints the result."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from phonoscope import paths
from phonoscope.config.params import load_params
from phonoscope.errors import CheckFailed, DataError

app = typer.Typer()
ParamsFile = Annotated[Path, typer.Option("--params", help="The parameters' file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def _print(report: dict[str, Any], text: str, as_json: bool, exit_code: int = 0) -> None:
    typer.echo(json.dumps(report, indent=2, allow_nan=False) if as_json else text)
    raise typer.Exit(exit_code)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="librispeech, speech_commands or fsdd.")],
    destination: Annotated[Path, typer.Argument(help="Folder to download into.")],
    subset: Annotated[str, typer.Option(help="A part of it; LibriSpeech's default is train-clean-100.")] = "",
) -> None:
    """Download a public corpus, resuming and verifying checksums."""
    from phonoscope.corpus.fetch import fetch as fetch_corpus

    typer.echo(f"corpus.source={name} corpus.root={fetch_corpus(name, destination, subset)}")


@app.command("sync-mlflow")
def sync_mlflow() -> None:
    """Add MLflow runs for results that DVC restored from its run cache."""
    from phonoscope import tracking

    added = tracking.sync_mlflow(Path(), load_params().tracking)
    typer.echo(f"MLflow: {added} runs added" if added else "MLflow: nothing to add")


@app.command()
def ui() -> None:
    """Start the MLflow UI on this checkout's tracking store."""
    from phonoscope import tracking

    command = tracking.ui_command(Path())
    os.execvp(command[0], command)


@app.command()
def inspect(
    clips: Annotated[list[Path], typer.Argument(help="Sound files.")],
    name: Annotated[str, typer.Option("--codec", help="A codec of params.yaml's section codecs.")],
    as_json: AsJson = False,
    params: ParamsFile = paths.PARAMS,
) -> None:
    """Show the codes of sound files and their representations. Exit code 4 if a file cannot be used."""
    from phonoscope.commands.inspect import describe_clips, inspect_clips

    report = inspect_clips(load_params(params), name, clips)
    _print(report, describe_clips(report), as_json, DataError.exit_code if report["failed"] else 0)


@app.command("probe-tables")
def probe_tables(
    tokens: Annotated[Path, typer.Argument(help="Parquet file: utterance, code_1, code_2, ..., and labels.")],
    codebooks: Annotated[Path, typer.Argument(help="Safetensors file: layer_1, layer_2, ..., each [codes, dims].")],
    name: Annotated[str, typer.Option(help="The codec's name in the tables; the file's name by default.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write tables and probes to.")] = None,
    as_json: AsJson = False,
    params: ParamsFile = paths.PARAMS,
) -> None:
    """Probe tokens that another program made. Exit code 4 if they do not follow the schema of docs/probe-tables.md."""
    from phonoscope.commands import probe_tables as tables

    report = tables.probe_tables(load_params(params), tokens, codebooks, name=name, output=output)
    _print(report, tables.describe(report), as_json)


@app.command("diagnose-vq")
def diagnose_vq(
    checkpoint: Annotated[Path, typer.Argument(help="A quantizer's or a codec's checkpoint: a file or its folder.")],
    data: Annotated[
        Path | None, typer.Option(help="A token table (.parquet), or encoder outputs [N, D] (.npy, .safetensors).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Name the faults of a vector quantizer. Exit code 0 healthy, 3 faulty, 4 unreadable."""
    from phonoscope.vq import diagnose

    dataset = {} if data is None else {"codes" if data.suffix == ".parquet" else "vectors": data}
    result = diagnose(checkpoint, **dataset)
    _print(result.to_dict(), str(result), as_json, 0 if result.healthy else 3)


@app.command()
def verify(as_json: AsJson = False, params: ParamsFile = paths.PARAMS) -> None:
    """Check every output against dvc.lock and DVC's cache, and its contents. Exit code 0 sound, 1 faulty."""
    from phonoscope.commands import verify as checks

    result = checks.verify(Path(), load_params(params).compute.workers)
    _print(result.to_dict(), str(result), as_json, CheckFailed.exit_code if result.faults else 0)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Name every obstacle to the next `dvc repro`, and its remedy. Exit code 0 none, 1 some."""
    from phonoscope.commands.doctor import diagnose

    faults = diagnose(Path())
    report = {"ok": not faults, "faults": [*map(asdict, faults)]}
    text = "\n".join(map(str, faults)) or "nothing prevents the next `dvc repro`"
    _print(report, text, as_json, CheckFailed.exit_code if faults else 0)
