from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dvc.stage.cache import _get_cache_hash
from dvc.utils.serialize import dump_yaml, load_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from hypothesis import given, settings
from hypothesis import strategies as st

from phonoscope.pipeline.integrity.hashes import (
    Output,
    cache_objects,
    cached_object,
    check_cache,
    check_output,
    check_run,
    file_md5,
    folder_md5,
    is_damaged,
    run_entries,
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
    assert fault.fix == f"remove `data/out/{name}`, then run `dvc checkout --force data/out`"


def test_without_a_listing_the_folder_is_named(stored: Stored) -> None:
    root, output, cache = stored
    (root / "data/out/a.csv").write_bytes(b"1,3\n")
    listing = cached_object(cache, output.md5)
    listing.write_bytes(listing.read_bytes() + b" ")
    assert [fault.path for fault in check_output(root, output, cache)] == ["data/out"]


def test_missing_and_foreign_files_are_named(stored: Stored) -> None:
    root, output, cache = stored
    assert check_output(root, output, cache) == []
    (root / "data/out/a.csv").rename(root / "data/out/z.csv")
    faults = check_output(root, output, cache)
    assert [fault.path for fault in faults] == ["data/out/a.csv", "data/out/z.csv"]
    assert [fault.reason.split()[0] for fault in faults] == ["missing,", "not"]


def test_a_missing_output_and_one_of_another_kind_are_named(stored: Stored) -> None:
    root, output, cache = stored
    (missing,) = check_output(root, Output("s", Path("data/none"), "0" * 32), cache)
    assert missing.reason.startswith("missing")
    for name, kind in {"data/out": "", "data/out/a.csv": "", "data/out/deep/b.npy": ".dir"}.items():
        (differs,) = check_output(root, Output("s", Path(name), f"{0:032}{kind}"), cache)
        assert (differs.path, differs.reason) == (name, "differs from dvc.lock (stage s)")
    assert output.rebuild in check_output(root, Output(output.stage, output.path, "0" * 32 + ".dir"), cache)[0].fix


def test_a_file_that_cannot_be_read_is_named(stored: Stored) -> None:
    root, output, cache = stored
    link = root / "data/out/a.csv"
    link.unlink()
    link.symlink_to("/proc/self/mem")  # opens, and fails as a broken sector does
    (fault,) = check_output(root, output, cache)
    assert fault.path == "data/out/a.csv"


def test_a_damaged_object_of_the_cache_is_named(stored: Stored) -> None:
    _, output, cache = stored
    assert [is_damaged(path) for path in cache_objects(cache)] == [False] * 4
    assert list(check_cache([output], cache, [], [])) == []
    damaged = cached_object(cache, output.md5)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert [path for path in cache_objects(cache) if is_damaged(path)] == [damaged]
    (fault,) = check_cache([output], cache, [damaged], [])
    assert (fault.path, fault.where) == (damaged.as_posix(), "cache")
    assert fault.fix == f"remove `{damaged}`, then run `dvc commit --force stage@x`"
    (fault,) = check_cache([output], cache, [damaged], [output.path])
    assert "dvc repro --force --single-item stage@x" in fault.fix
    (fault,) = check_cache([], cache, [damaged], [])
    assert fault.fix == f"remove `{damaged}`"


def test_a_missing_object_of_the_cache_is_named(stored: Stored) -> None:
    root, output, cache = stored
    cached_object(cache, file_md5(root / "data/out/a.csv")).unlink()
    assert [fault.path for fault in check_cache([output], cache, [], [])] == ["data/out/a.csv"]
    cached_object(cache, output.md5).unlink()
    assert [fault.path for fault in check_cache([output], cache, [], [])] == ["data/out"]
    assert list(check_cache([replace(output, cached=False)], cache, [], [])) == []


ENTRY: dict[str, Any] = {
    "cmd": "python -m x",
    "deps": [{"path": "a é", "hash": "md5", "md5": "0" * 32, "size": 11, "nfiles": 2}],
    "params": {"params.yaml": {"x": {"rate": 1e-05, "on": True, "none": None, "names": ["a", "1"]}}},
    "outs": [{"path": "data/b", "hash": "md5", "md5": "f" * 32, "size": 5}],
}


def run_entry(runs: Path) -> Path:
    """An entry of the run cache, named and written by DVC's own code."""
    key = _get_cache_hash(deepcopy(ENTRY), key=True)
    path = runs / key[:2] / key / _get_cache_hash(ENTRY)
    path.parent.mkdir(parents=True, exist_ok=True)
    dump_yaml(path, ENTRY)
    return path


def test_a_flipped_bit_in_the_run_cache_is_found_where_it_matters_to_dvc(tmp_path: Path) -> None:
    path = run_entry(tmp_path)
    assert run_entries(tmp_path) == [path]
    assert check_run(path) is None
    content = path.read_bytes()
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            sound = _get_cache_hash(load_yaml(path)) == path.name
        except Exception:  # whatever it is, it is damage
            sound = False
        assert (check_run(path) is None) == sound, bytes(flipped)


def test_a_misplaced_entry_of_the_run_cache_is_named(tmp_path: Path) -> None:
    path = run_entry(tmp_path)
    moved = tmp_path / "aa" / ("a" * 64) / path.name
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    fault = check_run(moved)
    assert fault is not None
    assert fault.fix == f"remove `{moved}`"
