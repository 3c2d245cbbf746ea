from __future__ import annotations

import json
from pathlib import Path

import pytest
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from hypothesis import given, settings
from hypothesis import strategies as st

from phonoscope.integrity.hashes import (
    Output,
    cache_objects,
    cached_object,
    check_cached,
    check_object,
    check_output,
    file_md5,
    folder_md5,
)

NAMES = st.text("abz_ é/", min_size=1, max_size=6).filter(lambda name: "//" not in f"/{name}/" and "." not in name)
FILES = {"a.csv": b"1,2\n", "deep/b.npy": b"\x93NUMPY", "deep/c d.json": b"{}"}


def dvc_folder_md5(files: dict[str, str]) -> str:
    """A folder's hash by DVC's own code."""
    tree = Tree()
    for name, md5 in files.items():
        tree.add(tuple(name.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    return str(tree.hash_info.value)


@given(st.dictionaries(NAMES, st.text("0123456789abcdef", min_size=32, max_size=32), max_size=6))
def test_a_folders_hash_is_that_of_dvc(files: dict[str, str]) -> None:
    assert folder_md5(files) == dvc_folder_md5(files)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Output, Path]:
    """A workspace with one folder, its entry in the lock, and the cache that holds it."""
    root, cache = tmp_path / "root", tmp_path / "cache"
    hashes = {}
    for name, content in FILES.items():
        path = root / "data" / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        hashes[name] = file_md5(path)
        put(cache, hashes[name], content)
    listing = [{"md5": md5, "relpath": name} for name, md5 in sorted(hashes.items())]
    put(cache, folder_md5(hashes), json.dumps(listing).encode())
    return root, Output("stage@x", Path("data/out"), folder_md5(hashes)), cache


def put(cache: Path, md5: str, content: bytes) -> None:
    path = cached_object(cache, md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


Stored = tuple[Path, Output, Path]


def test_what_is_as_it_was_has_no_fault(stored: Stored) -> None:
    root, output, cache = stored
    assert check_output(root, output, cache) == []
    assert [check_object(path) for path in cache_objects(cache)] == [None] * 4
    assert list(check_cached(output, cache)) == []


@settings(max_examples=30)
@given(data=st.data())
def test_any_flipped_bit_is_found_and_its_file_named(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, output, cache = stored.__wrapped__(tmp_path_factory.mktemp("flip"))  # type: ignore[attr-defined]
    name = data.draw(st.sampled_from(sorted(FILES)))
    path = root / output.path / name
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    (fault,) = check_output(root, output, cache)
    assert (fault.path, fault.where) == (f"data/out/{name}", "workspace")
    assert "stage@x" in fault.reason
    assert "dvc checkout --force data/out" in fault.mend


def test_without_a_listing_the_folder_is_named(stored: Stored) -> None:
    root, output, cache = stored
    (root / "data/out/a.csv").write_bytes(b"1,3\n")
    listing = cached_object(cache, output.md5)
    listing.write_bytes(listing.read_bytes() + b" ")
    assert [fault.path for fault in check_output(root, output, cache)] == ["data/out"]


def test_missing_and_foreign_files_are_named(stored: Stored) -> None:
    root, output, cache = stored
    (root / "data/out/a.csv").rename(root / "data/out/z.csv")
    faults = check_output(root, output, cache)
    assert [(fault.path, fault.reason.split()[0]) for fault in faults] == [
        ("data/out/a.csv", "missing,"),
        ("data/out/z.csv", "not"),
    ]


def test_a_missing_output_and_one_of_another_kind_are_named(stored: Stored) -> None:
    root, output, cache = stored
    (missing,) = check_output(root, Output("s", Path("data/none"), "0" * 32), cache)
    assert missing.reason.startswith("missing")
    (changed,) = check_output(root, Output("s", Path("data/out"), "0" * 32), cache)
    assert "changed places" in changed.reason
    (differs,) = check_output(root, Output("s", Path("data/out/a.csv"), "0" * 32), cache)
    assert differs.path == "data/out/a.csv"
    assert output.mend in check_output(root, Output(output.stage, output.path, "0" * 32 + ".dir"), cache)[0].mend


def test_a_damaged_object_of_the_cache_is_named(stored: Stored) -> None:
    _, output, cache = stored
    damaged = cached_object(cache, output.md5)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (fault,) = filter(None, map(check_object, cache_objects(cache)))
    assert fault.path == damaged.as_posix()
    assert fault.where == "cache"


def test_a_missing_object_of_the_cache_is_named(stored: Stored) -> None:
    root, output, cache = stored
    cached_object(cache, file_md5(root / "data/out/a.csv")).unlink()
    assert [fault.path for fault in check_cached(output, cache)] == ["data/out/a.csv"]
    cached_object(cache, output.md5).unlink()
    assert [fault.path for fault in check_cached(output, cache)] == ["data/out"]
