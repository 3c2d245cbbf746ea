from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch
from PIL import Image
from safetensors.torch import save

from phonoscope.pipeline.integrity.contents import CONTENT, check_content, check_whole


def npy(values: list[float]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(values, np.float16))
    return buffer.getvalue()


def parquet(values: list[float] | pa.Array, name: str = "score") -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: values, "phone": ["AA"] * len(values)}), buffer)
    return buffer.getvalue()


def flac() -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, np.sin(np.arange(4000) / 9), 8000, format="FLAC")
    return buffer.getvalue()


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


SOUND: dict[str, Callable[[], bytes]] = {
    ".safetensors": lambda: save({"w": torch.ones(3, 4)}),
    ".parquet": lambda: parquet([0.5, 1.0]),
    ".npy": lambda: npy([0.5, 1.0]),
    ".json": lambda: b'{"a": 1.5}',
    ".csv": lambda: b"name,value\nnone,1.5\nb,\n",
    ".flac": flac,
    ".png": png,
}
NOT_FINITE: dict[str, tuple[str, bytes]] = {
    "tensor": (".safetensors", save({"good": torch.ones(2), "w": torch.tensor([1.0, float("inf")])})),
    "column": (".parquet", parquet([0.5, float("nan")])),
    "list": (".parquet", parquet(pa.array([[0.5], [1.0, float("nan")]]))),
    "fixed list": (".parquet", parquet(pa.FixedSizeListArray.from_arrays(pa.array([0.5, 1, float("inf"), 2]), 2))),
    "list of structs": (".parquet", parquet(pa.array([[{"a": 0.5}], [{"a": float("-inf")}]]))),
    "array": (".npy", npy([0.5, float("-inf")])),
    "constant": (".json", b'{"a": NaN}'),
    "too large": (".json", b'{"a": [1e999]}'),
    "cell": (".csv", b"name,value\na,1.5\nb,nan\n"),
    "cell after an empty one": (".csv", b"name,value\na,\nb,-inf\nc,1\n"),
    "only infinity": (".csv", b"name,value\na,inf\n"),
    "endless pitch": (".parquet", parquet([100.0, float("inf")], "f0_hz")),
}
FINITE: dict[str, tuple[str, bytes]] = {
    "names": (".csv", b"word,speaker,value\ninfinity,nan,1\nseven,bob,\n"),
    "one name": (".csv", b"speaker,value\nnan,1\nnan,2\n"),
    "empty lists": (".parquet", parquet(pa.array([[], None, [1.0, None]]))),
    "no pitch": (".parquet", parquet([100.0, float("nan")], "f0_hz")),
}


@pytest.mark.parametrize("suffix", CONTENT)
def test_a_sound_file_passes_and_a_cut_or_empty_one_does_not(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    content = SOUND[suffix]()
    path.write_bytes(content)
    assert check_content(path) is None
    if suffix != ".csv":  # any text is a table
        path.write_bytes(content[: len(content) // 2])
        assert "readable" in str(check_content(path))
    path.write_bytes(b"")
    assert "readable" in str(check_content(path))


@pytest.mark.parametrize("name", NOT_FINITE | FINITE)
def test_numbers_that_are_not_finite_are_named_but_names_and_nothing_are_no_numbers(tmp_path: Path, name: str) -> None:
    suffix, content = (NOT_FINITE | FINITE)[name]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    reason = str(check_content(path)).lower()
    assert (reason == "none") == (name in FINITE)
    assert name in FINITE or any(word in reason for word in ("nan", "inf", "1e999"))


@pytest.mark.parametrize("suffix", SOUND)
def test_no_flipped_bit_ends_a_check(tmp_path: Path, suffix: str) -> None:
    """Bytes of the head: headers are where readers fail in ways of their own."""
    path = tmp_path / f"file{suffix}"
    content = SOUND[suffix]()
    for at in range(0, min(len(content), 1500), 3):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        assert check_content(path) != ""
        assert check_whole(path) != ""


def test_a_missing_package_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.png").write_bytes(png())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError):
        check_content(tmp_path / "file.png")


def test_a_deep_file_is_not_readable_and_an_object_array_not_unpickled(tmp_path: Path) -> None:
    deep, objects = tmp_path / "file.json", tmp_path / "array.npy"
    deep.write_bytes(b"[" * 100_000)
    np.save(objects, np.array([print], dtype=object), allow_pickle=True)
    for path in (deep, objects):
        assert "not readable" in str(check_content(path))
        assert "not readable" in str(check_whole(path))
