"""`verify` on small real DVC repositories: what is wrong is named, and ends nothing; the fixes fix it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phonoscope import paths
from phonoscope.commands.verify import verify
from phonoscope.files import write_json, write_parquet, write_safetensors
from phonoscope.pipeline.integrity.faults import Fault
from phonoscope.pipeline.integrity.hashes import cached_object, file_md5
from tests.commandline import phonoscope
from tests.pipeline.broken import changed
from tests.pipeline.clone import Clone

RATE = 8000
CACHE = ".dvc/cache/files/md5"
FILES = ["data/one.json", "data/many/a.txt", "metrics/one.csv", "metrics/many/a.csv"]
PIPELINE = """
stages:
  make:
    cmd: mkdir -p data metrics && cp -r made/data/. data && cp -r made/metrics/. metrics
    deps: [made]
    outs: [data/one.json, data/many]
    metrics: [metrics/one.csv: {cache: false}]
    plots: [metrics/many: {cache: false}]
"""


def repository(root: Path, pipeline: str, cache: str = "copy") -> Clone:
    """A git and DVC repository whose stages have run; what they copy lies in `made`."""
    clone = Clone(root).initialise()
    clone.dvc("init", "--quiet")
    clone.dvc("config", "cache.type", cache)
    (root / "dvc.yaml").write_text(pipeline)
    (root / "params.yaml").write_text("codecs: {dac: {kind: dac}}\n")
    clone.dvc("repro", "--quiet")
    return clone


@pytest.fixture(params=["copy", "hardlink"])
def clone(tmp_path: Path, request: pytest.FixtureRequest) -> Clone:
    """A repository with outputs of every kind: cached and not, file and folder."""
    for name in (*FILES, "data/many/b.txt"):
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[1]\n" if path.suffix == ".json" else f"{name}\n1.5\n")  # no two files share an object
    return repository(tmp_path, PIPELINE, request.param)


def flip(path: Path, at: int = 0) -> None:
    """Turn one bit over as a failing disk does: size, time and mode stay."""
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(stat.st_mode)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def follow(clone: Clone, fix: str) -> None:
    """Do what a fix says."""
    for step in re.findall(r"`([^`]+)`", fix):
        if step.startswith("dvc "):
            clone.run(*step.split())
        else:
            (clone.root / step).unlink()


def faults(clone: Clone, where: str) -> list[Fault]:
    return [fault for fault in verify(clone.root).faults if fault.where == where]


@pytest.mark.parametrize("and_in_the_cache", [False, True])
def test_the_fix_of_a_flipped_bit_fixes_it(clone: Clone, and_in_the_cache: bool) -> None:
    assert verify(clone.root).faults == []
    for name in FILES:
        path = clone.root / name
        before, cached = path.read_bytes(), cached_object(clone.root / CACHE, file_md5(path))
        flip(path)
        if and_in_the_cache and not cached.samefile(path):
            flip(cached)
        damaged = and_in_the_cache or cached.samefile(path)
        assert [fault.path for fault in faults(clone, "cache")] == [cached.as_posix()] * damaged
        (fault,) = faults(clone, "workspace")
        assert fault.path == name
        follow(clone, fault.fix)
        assert path.read_bytes() == before
        assert verify(clone.root).faults == []


def test_the_fix_of_a_flipped_bit_in_the_cache_fixes_it(clone: Clone) -> None:
    cache = clone.root / ".dvc" / "cache"
    files = [path for path in sorted(cache.rglob("*")) if path.is_file()]
    assert {path.relative_to(cache).parts[0] for path in files} == {"files", "runs"}
    for path in files:
        if path.exists() and path.stat().st_nlink == 1:  # with another name it is a file of the workspace too
            flip(path)
            (fault,) = verify(clone.root).faults
            assert (fault.path, fault.where) == (path.as_posix(), "cache")
            follow(clone, fault.fix)
            assert verify(clone.root).faults == []


def test_the_fixes_of_missing_files_and_objects_bring_them_back(clone: Clone) -> None:
    shutil.rmtree(clone.root / "data" / "many")
    (fault,) = faults(clone, "workspace")
    assert "missing" in fault.reason
    follow(clone, fault.fix)
    assert verify(clone.root).faults == []
    cached_object(clone.root / CACHE, file_md5(clone.root / "data/many/b.txt")).unlink()
    (fault,) = verify(clone.root).faults
    assert fault.path == "data/many/b.txt"
    follow(clone, fault.fix)
    assert verify(clone.root).faults == []


def test_a_cut_lock_is_a_fault_and_its_fix_fixes_it(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.root)
    lock = clone.root / "dvc.lock"
    content = lock.read_bytes()
    lock.write_bytes(content[: content.index(b"outs:") + 2])
    seen = phonoscope("verify", "--json")
    report = json.loads(seen.out)
    assert (seen.code, report["ok"], [fault["path"] for fault in report["faults"]]) == (1, False, ["dvc.lock"])
    follow(clone, report["faults"][0]["fix"])
    assert verify(clone.root).faults == []


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A repository with one of each artifact that `verify` compares with others."""
    root = tmp_path_factory.mktemp("artifacts")
    made = root / "made"
    (made / paths.CORPUS).mkdir(parents=True)
    rows = []
    for name, pitch in {"a-1": 7, "a-2": 9}.items():  # the same recording on both sides of the split is a fault
        path = made / paths.CORPUS / f"{name}.flac"
        sf.write(path, np.sin(np.arange(RATE) / pitch), RATE)
        row = {"utterance": name, "path": path.name, "speaker": "a", "text": "", "word": "", "duration_s": 1.0}
        rows.append(row | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    write_parquet(made / paths.MANIFEST, pa.Table.from_pylist(rows))
    write_json(made / paths.SPLIT, {"train": ["a-1"], "eval": ["a-2"], "speaker_folds": [["a"]]})
    frames = {"utterance": ["a-1"] * 50 + ["a-2"] * 50, "frame": np.tile(np.arange(50, dtype=np.int32), 2)}
    write_parquet(made / paths.F0_TRACKS, pa.table(frames))
    write_parquet(made / paths.tokens("dac"), pa.table(frames | {"code_1": np.full(100, 3, np.int16)}))
    about = {"frame_rate_hz": 50.0, "layers": 1}
    write_safetensors(made / paths.codebooks("dac"), {"layer_1": torch.zeros(8, 2)}, about)
    folder = made / paths.features("encoder_3")
    write_parquet(folder / "index.parquet", pa.table({"frame": list(range(5))}))
    np.save(folder / "features.npy", np.zeros((5, 2), np.float16))
    write_json(folder / "features.json", {"rows": 5})
    outs = [paths.CORPUS, paths.SPLIT, paths.ALIGNMENTS, paths.tokens_dir("dac"), folder.relative_to(made)]
    listed = ", ".join(path.as_posix() for path in outs)
    return repository(root, f"stages:\n  make:\n    cmd: cp -r made/data .\n    outs: [{listed}]\n")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (paths.codebooks("dac"), b"frame_rate_hz"),
        (paths.codebooks("dac"), b"layer_1"),
        (paths.codebooks("dac"), b"phonoscope"),
        (paths.MANIFEST, b"utterance"),
        (paths.MANIFEST, b"speaker"),
        (paths.tokens("dac"), b"code_1"),
        (paths.F0_TRACKS, b"utterance"),
        (paths.SPLIT, b"train"),
        (paths.SPLIT, b"{"),
        (paths.features("encoder_3") / "features.npy", b"'descr'"),
        (paths.features("encoder_3") / "features.npy", b"False"),
        (paths.features("encoder_3") / "features.npy", b"shape"),
    ],
)
@pytest.mark.parametrize("bit", [0, 6])
def test_a_flipped_bit_in_a_name_is_a_fault_and_ends_nothing(
    artifacts: Clone, path: Path, text: bytes, bit: int
) -> None:
    content = (artifacts.root / path).read_bytes()
    assert text in content
    flipped = content.replace(text, bytes([text[0] ^ 1 << bit]) + text[1:])  # Parquet has its names several times
    with changed(artifacts.root / path, lambda _: bytes(flipped)):
        listed = verify(artifacts.root).faults
    assert [fault.path for fault in listed if fault.where == "workspace"] == [path.as_posix()]
    contents = [fault for fault in listed if fault.where == "content"]
    assert any(path.as_posix() in (fault.path, *fault.reason.split()) for fault in contents)
    assert all("differs from dvc.lock" in fault.fix for fault in contents)


@settings(max_examples=15)
@given(data=st.data())
def test_any_flipped_bit_in_any_artifact_is_named(artifacts: Clone, data: st.DataObject) -> None:
    files = [path for path in sorted((artifacts.root / "data").rglob("*")) if path.is_file()]
    path = data.draw(st.sampled_from([path for path in files if path.name != ".gitignore"]))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with changed(path, lambda _: bytes(content)):
        listed = verify(artifacts.root).faults
    named = [fault.path for fault in listed if fault.where == "workspace"]
    assert named == [path.relative_to(artifacts.root).as_posix()]


@settings(max_examples=20)
@given(data=st.data())
def test_a_flipped_bit_in_the_lock_ends_nothing(artifacts: Clone, data: st.DataObject) -> None:
    content = bytearray((artifacts.root / "dvc.lock").read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with changed(artifacts.root / "dvc.lock", lambda _: bytes(content)):
        assert all(fault.fix for fault in verify(artifacts.root).faults)


def test_what_was_written_wrong_is_to_be_made_again(artifacts: Clone) -> None:
    """Wrong by dvc.lock's own hash: there is nothing to bring back."""
    made = artifacts.root / "made" / paths.SPLIT
    with changed(made, lambda whole: whole.replace(b"a-2", b"a-1")):
        artifacts.dvc("repro", "--quiet", "--force")
        listed = verify(artifacts.root).faults
    assert {(fault.path, fault.where) for fault in listed} == {("data/split.json", "content")}
    follow(artifacts, listed[0].fix)
    assert verify(artifacts.root).faults == []
