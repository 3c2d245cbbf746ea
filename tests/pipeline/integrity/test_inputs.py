from __future__ import annotations

import errno
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dvc.dependency import ParamsDependency
from safetensors.numpy import save_file

from phonoscope import paths
from phonoscope.errors import DataError, EnvironmentFault, PhonoscopeError
from phonoscope.pipeline.integrity import inputs
from phonoscope.pipeline.integrity.inputs import Input, check_inputs, naming_bad_inputs, stage_inputs
from tests.test_architecture import PARAMS, ROOT, dvc_stages

VALUES = PARAMS.model_dump(mode="json")


def test_a_stages_inputs_are_those_of_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every dep that another stage's output holds, or that holds such outputs, and nothing else."""
    resolved = inputs.resolve(ROOT / "dvc.yaml", VALUES)
    monkeypatch.setattr(inputs, "resolve", lambda *_: resolved)
    outs = {Path(out.def_path): name for name, other in dvc_stages().items() for out in other.outs}
    for name, stage in dvc_stages().items():
        deps = {Path(dep.def_path) for dep in stage.deps if not isinstance(dep, ParamsDependency)}
        expected = {(dep, outs[out]) for dep in deps for out in outs if dep.is_relative_to(out)}
        expected |= {(out, outs[out]) for dep in deps for out in outs if out.is_relative_to(dep)}
        given = [(each.path, each.writer) for each in stage_inputs(name, VALUES, ROOT / "dvc.yaml")]
        assert (set(given), len(given)) == (expected, len(expected)), name


def test_a_stage_that_dvc_yaml_lacks_has_no_inputs(tmp_path: Path) -> None:
    assert stage_inputs("probe@dac", VALUES, tmp_path / "dvc.yaml") == []
    (tmp_path / "dvc.yaml").write_text("stages: {corpus: {cmd: x}}")
    assert stage_inputs("probe@dac", VALUES, tmp_path / "dvc.yaml") == []
    (tmp_path / "dvc.yaml").write_text("stages: {<<<<<<< HEAD")
    with pytest.raises(DataError, match=r"(?s)dvc\.yaml: unable to read.*git checkout"):
        stage_inputs("probe@dac", VALUES, tmp_path / "dvc.yaml")


def tokens(folder: Path, codes: list[int], rows: int = 8, **columns: Any) -> Input:
    """A token table of one layer, and its codebook."""
    frame = pd.DataFrame({"utterance": "a", "frame": range(len(codes)), "code_1": codes} | columns)
    frame.to_parquet(folder / paths.tokens("").name)
    save_file({"layer_1": np.zeros((rows, 2), np.float32)}, folder / paths.codebooks("").name)
    return Input(folder, "encode@dac")


@pytest.mark.parametrize(("code", "rows"), [(8, 8), (-1, 8), (7, 4)])
def test_codes_that_the_codebook_lacks_are_named(tmp_path: Path, code: int, rows: int) -> None:
    check_inputs([tokens(tmp_path, [0, 7])])
    said = rf"tokens\.parquet: layer 1, a: code {code} is not in a codebook of {rows}; run `dvc repro encode@dac`"
    with pytest.raises(DataError, match=said):
        check_inputs([tokens(tmp_path, [0, code], rows)])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.csv", b"", "empty"),
        ("cut.csv", b"layer,value\n1,0.", "cut off: its last line has no end"),
        ("cut.json", b'{"train": [', "not readable, or cut off"),
        ("cut.npy", b"\x93NUMPY\x01", "not readable, or cut off"),
        ("cut.parquet", b"PAR1", "not readable, or cut off"),
        ("cut.safetensors", b"\xff\0\0\0\0\0\0\0{", "not readable, or cut off"),
        ("split.json", b"[1]", "not a split"),
        ("split.json", b'{"train": ["a"], "eval": []}', "eval is empty"),
        ("codebooks.safetensors", b"\2\0\0\0\0\0\0\0{}", "needs the tensors layer_1"),
    ],
)
def test_what_does_not_is_named_with_the_stage_to_run(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: {reason}.*; run `dvc repro split`"):
        check_inputs([Input(tmp_path, "split")])


def test_a_flipped_bit_anywhere_in_a_token_table_passes_or_is_refused(tmp_path: Path) -> None:
    given = tokens(tmp_path, [0, 7])
    path = tmp_path / paths.tokens("").name
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with suppress(DataError):
            check_inputs([given])


def test_what_is_missing_is_named_with_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder; run `dvc repro align`"):
        check_inputs([Input(tmp_path / "gone", "align")])


def test_a_refusal_of_an_input_says_which_stage_to_run(tmp_path: Path) -> None:
    given = [Input(tmp_path, "corpus")]
    for said, expected in {
        f"{tmp_path}/a.flac: truncated": f"{tmp_path}/a.flac: truncated; run `dvc repro corpus`",
        f"{tmp_path}: no words; run `dvc repro align`": f"{tmp_path}: no words; run `dvc repro align`",
        "the split has no train": "the split has no train",
    }.items():
        with pytest.raises(DataError) as seen, naming_bad_inputs(given):
            raise DataError(said)
        assert str(seen.value) == expected


def test_a_refusal_that_names_no_file_is_given_the_unsound_one(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("score\ninf\n")
    reason = r"^no column 'value' \(.*scores\.csv: column score holds inf; run `dvc repro probe@dac`\)$"
    with pytest.raises(DataError, match=reason), naming_bad_inputs([Input(tmp_path, "probe@dac")]):
        raise DataError("no column 'value'")


@pytest.mark.parametrize("error", [EnvironmentFault("no CUDA"), OSError(errno.ENOSPC, "No space left on device")])
def test_a_fault_of_the_machine_is_not_the_inputs(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "scores.json").write_text('{"a": NaN}')
    with pytest.raises(type(error)) as seen, naming_bad_inputs([Input(tmp_path, "probe@dac")]):
        raise error
    assert seen.value is error


def test_nor_is_one_while_they_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    (tmp_path / "split.json").write_text("{}")
    for readers, name in ((inputs.Split, "load"), (Path, "read_text")):
        monkeypatch.setattr(readers, name, lambda path, **_: fail(path))
        with pytest.raises(OSError, match="Too many open files"):
            check_inputs([Input(tmp_path, "split")])


def test_an_unforeseen_failure_is_the_unsound_inputs(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(json.dumps({"a": float("nan")}))
    reason = r"scores\.json: .*holds NaN.*; run `dvc repro probe@dac` \(KeyError: 'speaker'\)"
    with pytest.raises(DataError, match=reason) as seen, naming_bad_inputs([Input(tmp_path, "probe@dac")]):
        raise KeyError("speaker")
    assert isinstance(seen.value, PhonoscopeError)
    assert isinstance(seen.value.__cause__, KeyError)
