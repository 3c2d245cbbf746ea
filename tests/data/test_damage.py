"""Every noun reads a damaged file or refuses it with the file's name; no other error leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phonoscope.data import Alignment, Codebooks, Features, Interval, Labels, Latents, Manifest, Split, Tokens
from phonoscope.errors import DataError
from tests.bytes import damaged


class Noun(NamedTuple):
    file: str
    save: Callable[[Path], None]
    read: Callable[[Path], object]


def noun(cls: Any, file: str, value: Any) -> Noun:
    """A noun that is saved in one file."""
    return Noun(file, lambda folder: value.save(folder / file), lambda folder: cls.load(folder / file))


def read_tokens(folder: Path) -> object:
    return list(Tokens.load(folder / "tokens.parquet").batches(["a"]))


LABELS = Labels.from_intervals(
    {"a": Alignment([], [Interval(0.0, 0.5, "AA")])}, {"a": (np.arange(2) / 100, np.ones(2, np.float32))}
)
FEATURES = Features.from_arrays(np.ones((2, 3), np.float16), ["a", "a"])
NOUNS = [
    noun(Manifest, "manifest.parquet", Manifest.from_arrays(["a", "b"])),
    noun(Split, "split.json", Split.from_arrays(["a"], ["b"], [["x"]])),
    *(Noun(name, LABELS.save, Labels.load) for name in ("phones.parquet", "f0.parquet")),
    noun(Tokens, "tokens.parquet", Tokens.from_arrays({"a": np.ones((2, 4))}))._replace(read=read_tokens),
    noun(Codebooks, "codebooks.safetensors", Codebooks.from_arrays([np.ones((3, 2))])),
    *(
        Noun(name, Latents.from_arrays({"a": np.ones((2, 3))}).save, Latents.load)
        for name in ("frame_latents.npy", "frame_latents.parquet")
    ),
    *(Noun(name, FEATURES.save, Features.load) for name in ("features.npy", "index.parquet", "features.json")),
]


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.file)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_with_the_file(noun: Noun, tmp_path: Path, data: st.DataObject) -> None:
    noun.save(tmp_path)
    assert noun.read(tmp_path) is not None
    path = tmp_path / noun.file
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    refusal = str(tmp_path)
    try:
        noun.read(tmp_path)
    except DataError as error:
        refusal = str(error)
    assert str(tmp_path) in refusal
    path.write_bytes(b"PAR1 and no table")
    with pytest.raises(DataError, match=noun.file):
        noun.read(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=f"{noun.file}: no such"):
        noun.read(tmp_path)
