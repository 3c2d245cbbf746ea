import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.errors import DataError
from phonoscope.files import (
    atomic_dir,
    atomic_file,
    read_safetensors,
    require_finite,
    write_csv,
    write_json,
    write_metrics,
    write_parquet,
    write_safetensors,
)

SOURCE = Path(__file__).parents[1] / "src"


class Killed(Exception):
    """What stops a writer half-way."""


def write_half(path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        raise Killed


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_failed_file_leaves_nothing_or_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with pytest.raises(Killed):
        write_half(path)
    assert list(path.parent.iterdir()) == []
    path.write_text("old")
    with pytest.raises(Killed):
        write_half(path)
    assert tree(tmp_path) == {"deep/a.txt": b"old"}
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".txt"  # by which writers choose their format
        assert temporary.parent == path.parent
    assert tree(tmp_path) == {"deep/a.txt": b"new"}
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_folder_leaves_nothing_or_the_old_one(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_dir(tmp_path / "out") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "half.txt").write_text("half")
            raise Killed

    with pytest.raises(Killed):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old")
    with pytest.raises(Killed):
        fail()
    assert tree(tmp_path) == {"out/old.txt": b"old"}


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("first.txt", "second.txt"):
        with atomic_dir(tmp_path / "out") as folder:
            (folder / name).write_text(name)
    assert tree(tmp_path) == {"out/second.txt": b"second.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_two_writers_that_meet_leave_one_whole_folder(tmp_path: Path) -> None:
    with atomic_dir(tmp_path / "out") as first:
        (first / "a.txt").write_text("first")
        with atomic_dir(tmp_path / "out") as second:
            (second / "a.txt").write_text("second")
            (second / "b.txt").write_text("second")
    assert tree(tmp_path) == {"out/a.txt": b"first"}


FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9)
NAMES = st.text(alphabet="abcxyz_", min_size=1, max_size=5)
METRICS = st.recursive(FINITE, lambda below: st.dictionaries(NAMES, below, max_size=3), max_leaves=8)
REFUSED: list[Any] = [math.nan, math.inf, -math.inf, None, "0.5", True, [1.0], (1.0,), np.nan, 1j]


@given(st.dictionaries(NAMES, METRICS))
def test_nested_finite_numbers_are_metrics(metrics: dict[str, Any]) -> None:
    require_finite(metrics)


@given(
    metrics=st.dictionaries(NAMES, METRICS), path=st.lists(NAMES, min_size=1, max_size=4), bad=st.sampled_from(REFUSED)
)
def test_anything_else_is_refused_by_its_key(metrics: dict[str, Any], path: list[str], bad: Any) -> None:
    section: dict[str, Any] = {}
    spoiled = {**metrics, "spoiled": section}
    for name in path[:-1]:
        section = section.setdefault(name, {})
    section[path[-1]] = bad
    with pytest.raises(DataError) as refusal:
        require_finite(spoiled)
    assert repr(".".join(["spoiled", *path])) in str(refusal.value)


def test_refused_metrics_leave_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_metrics(path, {"b": {"y": 1.5}, "a": 2})
    assert json.loads(path.read_text()) == {"a": 2, "b": {"y": 1.5}}
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"'b\.y' is nan"):
        write_metrics(path, {"b": {"y": math.nan}})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": math.inf})
    assert tree(tmp_path) == {"summary.json": before}


def test_json_does_not_depend_on_the_order_of_keys_and_csv_is_tidy(tmp_path: Path) -> None:
    write_json(tmp_path / "1", {"b": [1, 2], "a": {"d": 0, "c": "ö"}})
    write_json(tmp_path / "2", {"a": {"c": "ö", "d": 0}, "b": [1, 2]})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert (tmp_path / "1").read_bytes().endswith(b"}\n")
    frame = pd.DataFrame({"codec": ["dac", "enc,odec"], "value": [1 / 3, np.nan]}, index=[7, 8])
    write_csv(tmp_path / "a.csv", frame)
    assert (tmp_path / "a.csv").read_bytes() == b'codec,value\ndac,0.333333333\n"enc,odec",\n'


def _csv(path: Path) -> None:
    write_csv(path, pd.DataFrame({"x": np.linspace(0, 1, 7), "name": list("abcdefg")}))


def _parquet(path: Path) -> None:
    write_parquet(path, pa.table({"x": np.arange(1000), "name": [str(n % 7) for n in range(1000)]}))


def _safetensors(path: Path) -> None:
    tensors = {name: torch.arange(6.0).reshape(2, 3) for name in ("layer_2", "layer_10", "a")}
    write_safetensors(path, tensors, {"z": 1, "a": [1, 2], "m": {"q": 1, "b": 2}})


@pytest.mark.parametrize("write", [_csv, _parquet, _safetensors])
def test_equal_content_gives_equal_bytes(tmp_path: Path, write: Callable[[Path], None]) -> None:
    for number in range(4):
        write(tmp_path / str(number))
    assert len(set(tree(tmp_path).values())) == 1


def test_safetensors_are_the_same_in_another_process(tmp_path: Path) -> None:
    _safetensors(tmp_path / "here")
    code = "import sys, pathlib, tests.test_files as t; t._safetensors(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{SOURCE.parent}", "PYTHONHASHSEED": "17"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], env=environment, check=True)
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = pa.table({"utterance": ["a", "b"], "code_1": pa.array([1, 1023], pa.int16())})
    write_parquet(tmp_path / "t.parquet", table)
    assert pq.read_table(tmp_path / "t.parquet").equals(table)
    tensors = {"w": torch.arange(12.0).reshape(3, 4).T, "codes": torch.tensor([1, 2], dtype=torch.int16)}
    write_safetensors(tmp_path / "m.safetensors", tensors, {"classes": ["AA", "B"], "rate": 75.0})
    read, metadata = read_safetensors(tmp_path / "m.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) and read[name].dtype == tensors[name].dtype for name in read)
    assert metadata == {"classes": ["AA", "B"], "rate": 75.0}


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(DataError, match="no such file"):
        read_safetensors(path)
    _safetensors(path)
    whole = path.read_bytes()
    torch.save({"a": torch.zeros(2)}, path)
    for content in (b"", whole[:4], whole[:100], whole[:-1], path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"m\.safetensors: not a readable safetensors file"):
            read_safetensors(path)


@pytest.mark.parametrize(
    ("columns", "fits"),
    [
        ({"value": [0.1, 0.202], "low": [0.0, 0.092], "high": [0.2, 0.189]}, False),
        ({"value": [0.1], "ci_low": [0.2], "ci_high": [0.3]}, False),
        ({"ratio": [2.0], "ratio_low": [0.5], "ratio_high": [1.5]}, False),
        ({"value": [5.0], "difference": [0.1], "ci_low": [0.0], "ci_high": [0.2]}, True),
        ({"value": [0.1, None, 0.3], "low": [0.1, 0.2, None], "high": [0.1, 0.2, math.nan]}, True),
        ({"effect": [math.nan], "effect_low": [1.0], "effect_high": [2.0], "follow": [3.0]}, True),
        ({"value": [], "low": [], "high": []}, True),
        ({"value": [0.3], "low": [0.1 + 0.2], "high": [0.1 + 0.2]}, True),
    ],
)
def test_a_value_outside_its_interval_is_not_written(columns: dict[str, list[Any]], fits: bool, tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    if fits:
        write_csv(file, pd.DataFrame(columns))
        assert file.exists()
        return
    with pytest.raises(ValueError, match=r"scores\.csv: \w+ lies outside its interval"):
        write_csv(file, pd.DataFrame(columns))
    assert not file.exists()
