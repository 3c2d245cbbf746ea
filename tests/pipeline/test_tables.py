from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonoscope import paths
from phonoscope.errors import DataError
from phonoscope.pipeline.tables import read_aligned_manifest, read_manifest, read_split, read_table
from tests.bytes import damaged


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


TABLE = Path("metrics/table.csv")
CONTENT = {
    paths.MANIFEST: parquet(pd.DataFrame({"utterance": ["a", "b"], "speaker": ["x", "y"], "duration_s": [0.5, 1.0]})),
    paths.F0_TRACKS: parquet(pd.DataFrame({"utterance": ["a", "a"], "time_s": [0.0, 0.01], "f0_hz": [100.0, 101.0]})),
    paths.SPLIT: json.dumps({"train": ["a"], "eval": ["b"], "speaker_folds": {"x": 0}}).encode(),
    TABLE: b'layer,value\n1,0.5\n2,"0.25"\n',
}
READERS: dict[Path, Callable[[], object]] = {
    paths.MANIFEST: read_manifest,
    paths.F0_TRACKS: read_aligned_manifest,
    paths.SPLIT: read_split,
    TABLE: lambda: read_table(TABLE, "probe"),
}


@pytest.fixture(autouse=True)
def _checkout(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path_factory.mktemp("checkout")
    monkeypatch.chdir(root)
    for name, content in CONTENT.items():
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(content)


def refusal(read: Callable[[], object]) -> str:
    """What our own error says, empty if there is none. Any other error is a crash."""
    try:
        read()
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", READERS, ids=str)
def test_whole_tables_are_read(name: Path) -> None:
    assert len(READERS[name]()) > 0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", READERS, ids=str)
@given(data=st.data())
@settings(max_examples=150)
def test_any_bytes_are_read_or_refused_with_file_and_mend(name: Path, data: st.DataObject) -> None:
    name.write_bytes(data.draw(damaged(CONTENT[name])))
    assert re.match(rf"{name}: .*dvc repro", refusal(READERS[name]), re.DOTALL) or READERS[name]() is not None


@pytest.mark.parametrize("name", READERS, ids=str)
def test_a_table_that_is_not_there_names_its_stage(name: Path) -> None:
    name.unlink()
    with pytest.raises(DataError, match=rf"{name}: no such file; run `dvc repro"):
        READERS[name]()
