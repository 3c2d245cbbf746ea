from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from phonoscope import shards
from phonoscope.shards import resumable, shard_key


def square(log: Path, number: int) -> dict[str, pa.Table]:
    """One table of a shard; the third one breaks until a file says otherwise."""
    if number == 3 and not (log / "mended").exists():
        raise OSError("interrupted")
    (log / f"{number}").write_text("made")
    return {"squares": pa.table({"name": pa.array(["x"]).dictionary_encode(), "square": [number**2]})}


def run(tmp_path: Path, workers: int) -> list[int]:
    work = [(shard_key("square", number), number) for number in range(5)]
    done = resumable(partial(square, tmp_path), work, tmp_path / "kept", workers=workers)
    return [tables["squares"]["square"][0].as_py() for tables in done]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_finished_before_an_interruption_is_not_done_again(tmp_path: Path, workers: int) -> None:
    with pytest.raises(OSError, match="interrupted"):
        run(tmp_path, workers)
    finished = {str(n) for n in range(5) if (tmp_path / "kept" / shard_key("square", n)).is_dir()}
    assert len(finished) >= 2  # with two workers, the fourth begins after two are done
    for path in tmp_path.glob("[0-9]"):
        path.unlink()
    (tmp_path / "mended").touch()
    assert run(tmp_path, workers) == [0, 1, 4, 9, 16]
    assert {path.name for path in tmp_path.glob("[0-9]")} == {"0", "1", "2", "3", "4"} - finished
    assert not (tmp_path / "kept").exists()


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    (tables,) = resumable(partial(square, tmp_path), [("key", 2)], tmp_path / "kept")
    assert tables["squares"].equals(square(tmp_path, 2)["squares"])


def test_a_key_is_of_values_files_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a")
    keys = {shard_key(1, {"b": 2}, files=[path]), shard_key(1, {"b": 3}, files=[path]), shard_key(1, {"b": 2})}
    path.write_bytes(b"b")
    keys.add(shard_key(1, {"b": 2}, files=[path]))
    monkeypatch.setattr(shards, "code_digest", lambda: "another")
    keys.add(shard_key(1, {"b": 2}, files=[path]))
    assert len(keys) == 5
    assert shard_key(1, {"b": 2}) == shard_key(1, {"b": 2})
