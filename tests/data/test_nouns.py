"""Manifest, Split, Labels, Codebooks, Latents, Features: written, read back, refused when they do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.data import Alignment, Codebooks, Features, Interval, Labels, Latents, Manifest, Split
from phonoscope.data.latents import mean_latent_table, read_mean_latents
from phonoscope.data.manifest import manifest_schema
from phonoscope.errors import DataError
from phonoscope.files import write_parquet, write_safetensors


def test_a_manifest_is_read_back_or_refused(tmp_path: Path) -> None:
    manifest = Manifest.from_arrays(["b", "a"], speaker=["x", "y"], duration_s=[1.0, 2.5], sample_rate=[8000, 16000])
    manifest.save(tmp_path / "m.parquet")
    assert pq.read_schema(tmp_path / "m.parquet").remove_metadata() == manifest_schema()
    again = Manifest.load(tmp_path / "m.parquet")
    assert (again.utterances, again["word"]) == (["b", "a"], ["", ""])
    assert again.by_utterance("duration_s") == {"b": 1.0, "a": 2.5}
    assert again.select(["a", "z", "b"]).utterances == ["b", "a"]
    assert len(again.select(["a"])) == 1
    with pytest.raises(DataError, match="'a' has more than one row"):
        Manifest.from_arrays(["a", "a"])
    with pytest.raises(DataError, match="other lengths"):
        Manifest.from_arrays(["a"], speaker=["x", "y"])
    with pytest.raises(DataError, match="lacks the column mood"):
        manifest["mood"]


def test_a_split_is_read_back(tmp_path: Path) -> None:
    split = Split.from_arrays(["b", "a"], ["c"], [["y", "x"], ["z"]])
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split == Split(["a", "b"], ["c"], [["x", "y"], ["z"]])
    assert Split(["a", "b", "c"], ["e", "d"]).sample(2, 0) == ["a", "c", "d", "e"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"train": []}', "needs the lists train and eval"),
        ('{"train": ["a"], "eval": ["a"]}', "'a' is in train and in eval"),
        ('{"train": ["a"], "eval": ["b"], "speaker_folds": [["x"], ["x"]]}', "a speaker is in two folds"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Split.load(tmp_path / "split.json")


def test_labels_are_read_back_or_refused(tmp_path: Path) -> None:
    alignments = {
        "a": Alignment([Interval(0.1, 0.9, "one")], [Interval(0.0, 0.1, "SIL"), Interval(0.1, 0.9, "W")]),
        "b": Alignment([], [Interval(0.0, 1 / 3, "AA1")]),
    }
    tracks = {"a": (np.arange(3) / 100, np.array([100, np.nan, 120], np.float32))}
    Labels.from_intervals(alignments, tracks).save(tmp_path)
    labels = Labels.load(tmp_path)
    assert (labels.utterances, labels.phone_names) == (["a", "b"], ("AA1", "SIL", "W"))
    assert {name: labels.alignment(name) for name in labels.utterances} == alignments
    np.testing.assert_array_equal(labels.f0_hz("a", np.array([0, 1, 5]), 100.0), [np.nan] * 3)
    np.testing.assert_array_equal(labels.f0_hz("b", np.array([0]), 100.0), [np.nan])
    with pytest.raises(DataError, match="'c' is not aligned"):
        labels.alignment("c")
    with pytest.raises(DataError, match="an interval of 'a' is reversed"):
        Labels.from_intervals({"a": Alignment([], [Interval(1.0, 0.5, "AA")])})
    with pytest.raises(DataError, match="2 frames, but 1 phones"):
        Labels.from_frames(["a", "a"], ["AA"])


def books(*shapes: tuple[int, int]) -> list[Any]:
    return [np.random.default_rng(layer).normal(size=shape).astype(np.float32) for layer, shape in enumerate(shapes)]


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), projected=st.booleans())
def test_codebooks_of_any_sizes_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], projected: bool
) -> None:
    path = tmp_path_factory.mktemp("books") / "codebooks.safetensors"
    raw = books(*((size, 2) for size in sizes)) if projected else None
    codebooks = Codebooks.from_arrays(books(*((size, 4) for size in sizes)), raw, frame_rate_hz=75.0)
    codebooks.save(path, codec="planted")
    again = Codebooks.load(path)
    assert (again.sizes, again.dims, again.layers, again.frame_rate_hz) == (tuple(sizes), 4, len(sizes), 75.0)
    assert again.coincide != projected
    for kind in ("vectors", "raw"):
        for rows, others in zip(getattr(again, kind), getattr(codebooks, kind), strict=True):
            np.testing.assert_array_equal(rows, others)
    assert again.first(1).sizes == (sizes[0],)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "needs the tensors layer_1"),
        ({"layer_1": (4, 2), "layer_3": (4, 2)}, "needs the tensors layer_1"),
        ({"layer_1": (4, 2), "layer_2": (4, 3)}, r"layer_2 is \[4, 3\], layer_1 \[4, 2\]: other dimensions"),
        ({"layer_1": (4, 2), "raw_1": (3, 2)}, "raw_1 is .* not as many codes"),
        ({"layer_1": (4, 2), "layer_2": (4, 2), "raw_1": (4, 2)}, "2 tensors layer_<l>, but 1 raw_<l>"),
        ({"layer_1": (0, 2)}, r"layer_1 is \[0, 2\], not"),
        ({"layer_1": (4,)}, r"layer_1 is \[4\], not"),
        ({"layer_1": (40_000, 1)}, "layer_1 has 40000 codes; at most 32768"),
    ],
)
def test_codebooks_that_do_not_fit_are_refused(tmp_path: Path, tensors: dict[str, Any], message: str) -> None:
    import torch

    write_safetensors(tmp_path / "c.safetensors", {name: torch.ones(shape) for name, shape in tensors.items()}, {})
    with pytest.raises(DataError, match=f"c.safetensors: {message}"):
        Codebooks.load(tmp_path / "c.safetensors")
    with pytest.raises(DataError, match="not finite"):
        Codebooks.from_arrays([np.full((2, 2), np.nan)])


def test_latents_of_parts_are_read_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = {"a": 2, "b": 0, "c": 5, "d": 1}
    arrays = {name: rng.normal(size=(length, 3)).astype(np.float32) for name, length in lengths.items()}
    parts = [Latents.from_arrays({name: arrays[name] for name in names}) for names in ("ab", "", "cd")]
    Latents.merge(parts, tmp_path)
    latents = Latents.load(tmp_path)
    assert (latents.utterances, latents.places["c"], "x" in latents) == (tuple("abcd"), slice(2, 7), False)
    for name, array in arrays.items():
        np.testing.assert_array_equal(latents[name], array)
    with pytest.raises(DataError, match="no latent of 'x'"):
        latents["x"]
    np.save(tmp_path / "frame_latents.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(DataError, match=r"shape \[3, 3\] for 8 frames"):
        Latents.load(tmp_path)
    Latents.merge([], tmp_path)
    assert Latents.load(tmp_path).utterances == ()


def test_mean_latents_are_means_over_time_and_no_frame_gives_no_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    latents = {"b": rng.normal(size=(7, 4)), "short": np.zeros((0, 4)), "a": rng.normal(size=(1, 4))}
    write_parquet(tmp_path / "l.parquet", mean_latent_table(latents))
    expected = np.stack([latents[name].mean(axis=0).astype(np.float32) for name in ("a", "b")])
    np.testing.assert_array_equal(read_mean_latents(tmp_path / "l.parquet", ["a", "b"]), expected)
    with pytest.raises(DataError, match="no latent of 'short'"):
        read_mean_latents(tmp_path / "l.parquet", ["a", "short"])


def test_features_are_read_back(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float16).reshape(4, 3)
    features = Features.from_arrays(values, ["a", "a", "b", "b"], split=["train", "train", "eval", "eval"])
    features.save(tmp_path)
    again = Features.load(tmp_path)
    np.testing.assert_array_equal(again.values, values)
    assert again.index["frame"].tolist() == [0, 1, 0, 1]
    assert (again.starts(), again.rows("eval").tolist()) == ({"a": 0, "b": 2}, [2, 3])
    np.save(tmp_path / "features.npy", values[:2])
    with pytest.raises(DataError, match="beside 4 rows of labels"):
        Features.load(tmp_path)
