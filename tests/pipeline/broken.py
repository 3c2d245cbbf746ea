"""What stages read of each other, broken: a stage that is added to dvc.yaml joins by itself."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dvc.repo import Repo
from dvc.stage import PipelineStage
from safetensors.numpy import load, save

from tests.pipeline.clone import OUTPUTS

FORMS = {".parquet", ".safetensors", ".npy", ".json", ".csv"}
"""What is cut and emptied; a recording or a TextGrid that is concerns its utterance alone."""
Change = Callable[[bytes], bytes]
BREAKS: dict[str, Change] = {
    "cut": lambda whole: whole[: len(whole) // 2].rstrip(b"\n"),  # a CSV cut between two lines is whole by its form
    "emptied": lambda whole: b"",
}


def stage_deps(root: Path) -> dict[str, list[Path]]:
    """By DVC's own account, what the first stage of every kind reads of other stages."""
    stages: dict[str, list[Path]] = {}
    kinds = set()
    for stage in Repo(str(root)).index.stages:
        kind = stage.addressing.partition("@")[0]
        if isinstance(stage, PipelineStage) and kind not in kinds:
            kinds.add(kind)
            deps = [Path(dep.def_path) for dep in stage.deps if dep.def_path.split("/")[0] in OUTPUTS]
            stages[stage.addressing] = [dep for dep in deps if dep.parts[0] != "params.yaml"]
    return stages


def largest(dep: Path) -> Path | None:
    """The largest file of an input that has a form."""
    files = [dep] if dep.is_file() else sorted(dep.rglob("*"))
    return max((file for file in files if file.suffix in FORMS), key=lambda file: file.stat().st_size, default=None)


@contextmanager
def removed(path: Path) -> Iterator[None]:
    aside = path.rename(path.with_name(f"{path.name}.aside"))
    try:
        yield
    finally:
        aside.rename(path)


@contextmanager
def changed(path: Path, change: Change) -> Iterator[None]:
    before = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(change(before))
    try:
        yield
    finally:
        path.write_bytes(before)


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    """Changes a Parquet file's table."""
    return lambda whole: bytes(change(pd.read_parquet(io.BytesIO(whole))).to_parquet())


def without(column: str) -> Change:
    return table(lambda frame: frame.drop(columns=column))


def code(value: int) -> Change:
    return table(lambda frame: frame.assign(code_2=np.where(np.arange(len(frame)) == 3, value, frame["code_2"])))


def csv_without(column: str) -> Change:
    return lambda whole: pd.read_csv(io.BytesIO(whole)).drop(columns=column).to_csv(index=False).encode()


def text(change: Callable[[Any], object]) -> Change:
    """Changes a JSON file's content."""

    def make(whole: bytes) -> bytes:
        content = json.loads(whole)
        change(content)
        return json.dumps(content).encode()

    return make


def last_row_lost(whole: bytes) -> bytes:
    """Of a NumPy array."""
    buffer = io.BytesIO()
    np.save(buffer, np.load(io.BytesIO(whole))[:-1])
    return buffer.getvalue()


def tensors(change: Callable[[dict[str, Any]], object]) -> Change:
    """Changes a safetensors file's tensors."""

    def make(whole: bytes) -> bytes:
        content = load(whole)
        change(content)
        header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
        return bytes(save(content, header["__metadata__"]))

    return make


def narrower(name: str) -> Change:
    """Takes the last column of one tensor."""
    return tensors(lambda content: content.update({name: np.ascontiguousarray(content[name][..., :-1])}))


def weight(content: dict[str, Any]) -> None:
    name = max(content, key=lambda name: content[name].ndim)
    content[name] = np.ascontiguousarray(content[name][:-1])


DIFFERS = "differs from dvc.lock"
SHAPES: list[tuple[str, str, Change, str]] = [
    ("split", "data/corpus/manifest.parquet", without("speaker"), "lacks the column speaker"),
    ("probe@dac", "data/corpus/manifest.parquet", without("utterance"), "a manifest needs the column utterance"),
    ("probe@dac", "data/split.json", text(lambda split: split.pop("eval")), "it needs the lists train and eval"),
    ("probe@dac", "data/tokens/dac/tokens.parquet", code(5000), "code 5000 is not in a codebook of 1024"),
    ("geometry@dac", "data/tokens/dac/tokens.parquet", code(-1), "code -1 is not in a codebook of 1024"),
    ("maps", "data/tokens/dac/tokens.parquet", without("code_1"), "lacks the column code_1"),
    ("depth@dac", "data/alignments/phones.parquet", without("label"), "lacks the column label"),
    ("probe@dac", "data/tokens/dac/codebooks.safetensors", narrower("layer_2"), "layer_2 is [1024, 127]"),
    ("probe@dac", "data/alignments/f0.parquet", without("f0_hz"), "lacks the column f0_hz"),
    ("features", "data/alignments/f0.parquet", without("utterance"), "lacks the column utterance"),
    ("encode@dac", "models/codecs/dac/model.safetensors", tensors(weight), "the weights do not fit the model"),
    ("depth@dac", "models/codecs/dac/model.safetensors", tensors(weight), "the weights do not fit the model"),
    ("sae@encoder_3", "data/features/encoder_3/features.npy", last_row_lost, "rows of labels"),
    ("interpret@encoder_3", "models/sae/encoder_3/sae_weights.safetensors", narrower("W_enc"), "no sparse autoencoder"),
    ("causal@encoder_3", "models/sae/encoder_3/sae_weights.safetensors", narrower("W_enc"), "no sparse autoencoder"),
    ("browse@encoder_3", "data/interpret/encoder_3/features.parquet", without("density"), DIFFERS),
    ("compare", "models/probes/speechtokenizer/phone.safetensors", tensors(dict.popitem), DIFFERS),
    ("compare", "data/tokens/dac/codebooks.safetensors", tensors(lambda content: content.pop("raw_1")), "raw_1"),
    ("geometry-report", "data/geometry/dac/clips.parquet", without("word"), DIFFERS),
    ("sae-report", "metrics/sae_scores/encoder_3.csv", csv_without("value"), DIFFERS),
    ("vq-report", "models/vq/vq/checks.json", text(lambda checks: checks.clear()), DIFFERS),
    ("vq-report", "metrics/vq/vq.csv", csv_without("epoch"), DIFFERS),
    ("summary", "metrics/geometry/dac.csv", csv_without("value"), DIFFERS),
]
"""Whole files that do not fit: the stage, the file, what is done to it and what the line must say."""
