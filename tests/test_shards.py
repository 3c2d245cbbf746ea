import errno
import os
from functools import partial
from pathlib import Path

import pytest

from phonoscope import shards
from phonoscope.shards import resumable, shard_key, take_files


def square(log: Path, number: int, folder: Path) -> None:
    """Write a number's square; the third one breaks until a file says otherwise."""
    if number == 3 and not (log / "repaired").exists():
        (folder / "half").write_text("begun")
        raise OSError("interrupted")
    (log / f"{number}").write_text("made")
    (folder / "square").write_text(str(number**2))


def key(number: int) -> str:
    return shard_key("square", number)


def run(tmp_path: Path, workers: int) -> list[int]:
    done = resumable(partial(square, tmp_path), range(5), key, tmp_path / "kept", workers=workers)
    return [int((folder / "square").read_text()) for folder in done]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_finished_before_an_interruption_is_not_done_again(tmp_path: Path, workers: int) -> None:
    with pytest.raises(OSError, match="interrupted"):
        run(tmp_path, workers)
    finished = {str(number) for number in range(5) if (tmp_path / "kept" / key(number)).is_dir()}
    assert len(finished) >= 2  # with two workers, the fourth begins after two are done
    assert "3" not in finished
    for path in tmp_path.glob("[0-9]"):
        path.unlink()
    (tmp_path / "repaired").touch()
    assert run(tmp_path, workers) == [0, 1, 4, 9, 16]
    assert {path.name for path in tmp_path.glob("[0-9]")} == {"0", "1", "2", "3", "4"} - finished
    assert not (tmp_path / "kept").exists()


def test_a_key_is_of_values_files_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    keys = {shard_key(1, {"b": 2}, files=[path])}  # missing
    path.write_bytes(b"a")
    keys |= {shard_key(1, {"b": 2}, files=[path]), shard_key(1, {"b": 3}, files=[path]), shard_key(1, {"b": 2})}
    path.write_bytes(b"b")
    keys.add(shard_key(1, {"b": 2}, files=[path]))
    monkeypatch.setattr(shards, "code_digest", lambda: "another")
    keys.add(shard_key(1, {"b": 2}, files=[path]))
    assert len(keys) == 6
    assert shard_key(1, {"b": 2}) == shard_key(1, {"b": 2})


def test_files_are_taken_over_beside_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "shard" / "deep").mkdir(parents=True)
    (tmp_path / "shard" / "deep" / "new").write_text("new")
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "old").write_text("old")
    take_files(tmp_path / "shard", tmp_path / "out")
    taken = {path.name: path.read_text() for path in (tmp_path / "out" / "deep").iterdir()}
    assert taken == {"old": "old", "new": "new"}
    assert (tmp_path / "shard" / "deep" / "new").samefile(tmp_path / "out" / "deep" / "new")


@pytest.mark.parametrize("refused", [errno.EXDEV, errno.EPERM])
def test_files_are_copied_where_the_file_system_refuses_links(
    refused: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(refused, "no links", str(source), None, str(target))

    monkeypatch.setattr(os, "link", link)
    (tmp_path / "shard").mkdir()
    (tmp_path / "shard" / "new").write_text("new")
    take_files(tmp_path / "shard", tmp_path / "out")
    assert (tmp_path / "out" / "new").read_text() == "new"
