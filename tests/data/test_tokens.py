"""Token tables: written, read back, joined with labels; against loops over frames."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from phonoscope.data import Alignment, Frames, Interval, Labels, Tokens
from phonoscope.data.labels import frame_labels, sample_f0
from phonoscope.errors import DataError

SIZES = (8, 5)
RATE_HZ = 50.0


def codes_of(lengths: list[int], seed: int = 0) -> dict[str, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return {f"u{i}": np.stack([rng.integers(0, size, length) for size in SIZES]) for i, length in enumerate(lengths)}


def frames_of(batches: list[Frames], names: list[str]) -> list[tuple[Any, ...]]:
    """utterance, frame, codes, phone and F0 of every frame of some batches."""
    return [
        (
            names[batch.utterances[i]],
            int(batch.frames[i]),
            tuple(batch.codes[i].tolist()),
            batch.phone_names[batch.phones[i]] if batch.phones[i] >= 0 else None,
            None if np.isnan(batch.f0_hz[i]) else float(batch.f0_hz[i]),
        )
        for batch in batches
        for i in range(len(batch))
    ]


tables = st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any)


@given(lengths=tables, batch_frames=st.integers(1, 30), data=st.data())
@settings(max_examples=40, deadline=None)
def test_batches_hold_the_frames_asked_for(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], batch_frames: int, data: st.DataObject
) -> None:
    codes = codes_of(lengths)
    memory = Tokens.from_arrays(codes, SIZES, RATE_HZ)
    path = tmp_path_factory.mktemp("tokens") / "tokens.parquet"
    memory.save(path)
    asked = data.draw(st.permutations([*codes, "absent"]))[: data.draw(st.integers(1, len(codes) + 1))]
    expected = [
        (name, frame, tuple(array[:, frame].tolist()), None, None)
        for name, array in codes.items()
        if name in asked
        for frame in range(array.shape[1])
    ]
    for tokens in (memory, Tokens.load(path)):
        assert (tokens.sizes, tokens.frame_rate_hz) == (SIZES, RATE_HZ)
        assert tokens.lengths() == {name: array.shape[1] for name, array in codes.items() if array.shape[1]}
        assert frames_of(list(tokens.batches(asked, batch_frames=batch_frames)), asked) == expected
        assert list(tokens.faults()) == []
        for name, array in tokens.codes().items():
            np.testing.assert_array_equal(array, codes[name])
        for layer, counts in enumerate(tokens.usage()):
            every = np.concatenate([array[layer] for array in codes.values()])
            assert counts.tolist() == [int((every == code).sum()) for code in range(SIZES[layer])]


bounds = st.lists(st.integers(0, 250), min_size=2, max_size=12, unique=True).map(sorted)


@given(
    lengths=tables, rate_hz=st.sampled_from([50.0, 75.0, 86.1328125]), batch_frames=st.integers(1, 30), data=st.data()
)
@settings(max_examples=60, deadline=None)
def test_labels_are_joined_as_a_loop_over_frames_does(
    lengths: list[int], rate_hz: float, batch_frames: int, data: st.DataObject
) -> None:
    codes = codes_of(lengths)
    alignments, tracks = {}, {}
    for name in codes:
        if data.draw(st.booleans()):
            continue  # not aligned
        edges = [edge / 1000 for edge in data.draw(bounds)]
        phones = [Interval(a, b, data.draw(st.sampled_from(["AA", "S", "SIL"]))) for a, b in pairwise(edges)]
        alignments[name] = Alignment([], phones)
        f0_hz = data.draw(st.lists(st.sampled_from([100.0, 180.5, np.nan]), max_size=20))
        tracks[name] = np.arange(len(f0_hz)) / 100, np.array(f0_hz, dtype=np.float32)
    labels = Labels.from_intervals(alignments, tracks)
    expected = []
    for name, array in codes.items():
        for frame in range(array.shape[1]) if name in alignments else ():
            phone = str(frame_labels(alignments[name].phones, frame + 1, rate_hz)[frame])
            f0 = float(sample_f0(*tracks[name], np.array([(frame + 0.5) / rate_hz]))[0])
            expected.append((name, frame, tuple(array[:, frame].tolist()), phone, None if np.isnan(f0) else f0))
    tokens, names = Tokens.from_arrays(codes, SIZES, rate_hz), list(codes)
    assert frames_of(list(tokens.batches(names, labels, batch_frames=batch_frames)), names) == expected


def test_labels_of_frames_stay_with_their_frames() -> None:
    utterances = ["b", "a", "b", "a", "a"]
    labels = Labels.from_frames(utterances, ["S", None, "AA", "", "SIL"], [100.0, 110.0, np.nan, 0.5, 120.0])
    tokens = Tokens.from_arrays({"a": np.zeros((1, 3)), "b": np.ones((1, 2)), "c": np.ones((1, 1))})
    assert frames_of(list(tokens.batches(["a", "b", "c"], labels)), ["a", "b", "c"]) == [
        ("a", 0, (0,), None, 110.0),
        ("a", 1, (0,), None, 0.5),
        ("a", 2, (0,), "SIL", 120.0),
        ("b", 0, (1,), "S", 100.0),
        ("b", 1, (1,), "AA", None),
    ]
    only_f0 = Labels.from_frames(["a"] * 3, f0_hz=[1.0, 2.0, 3.0])
    frames = frames_of(list(tokens.batches(["a"], only_f0)), ["a"])
    assert [frame[3:] for frame in frames] == [(None, 1.0), (None, 2.0), (None, 3.0)]
    with pytest.raises(DataError, match="labels of 1 frames, none of frame 2"):
        list(tokens.batches(["a"], Labels.from_frames(["a"], ["S"])))


def write(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table({"utterance": ["a", "a"], "frame": pa.array([0, 1], pa.int32())} | columns), path)
    return path


@pytest.mark.parametrize(
    ("columns", "sizes", "message"),
    [
        ({"code_1": [0, 1]}, (8, 8), "lacks the column code_2"),
        ({"code_1": [0, 1], "code_2": [0, 1]}, (8,), "2 columns of codes for codebooks of 1 layers"),
        ({"code_1": [0, 8]}, (8,), "codes of layer 1 from 0 to 8 for a codebook of 8"),
        ({"code_1": [0, 1]}, None, "does not name the sizes"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, columns: dict[str, Any], sizes: tuple[int, ...] | None, message: str
) -> None:
    path = write(tmp_path / "t.parquet", columns)
    with pytest.raises(DataError, match=message):
        list(Tokens.load(path, sizes).batches())


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({}, "no utterance"),
        ({"a": np.zeros((2, 3)), "b": np.zeros((1, 3))}, "with the same layers"),
        ({"a": np.zeros(3)}, "should be .layers, frames."),
        ({"a": np.full((2, 3), 6)}, "layer 2 from 6 to 6 for a codebook of 5"),
        ({"a": np.full((2, 3), -1)}, "layer 1 from -1"),
    ],
)
def test_arrays_that_are_no_codes_are_refused(codes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Tokens.from_arrays(codes, SIZES)


def test_every_fault_is_named(tmp_path: Path) -> None:
    columns = {"frame": pa.array([0, 2], pa.int32()), "code_1": [3, 9]}
    tokens = Tokens.load(write(tmp_path / "t.parquet", columns), (8,), RATE_HZ)
    faults = list(tokens.faults({"a": 1.0}))
    assert faults[0] == "layer 1, a: code 9 is not in a codebook of 8"
    assert faults[1].startswith("a: its frames are not numbered")
    assert faults[2] == "a: 2 frames for 1.000 s at 50 a second"
    assert list(tokens.faults({}))[-1] == "a is not in the manifest"
    with pytest.raises(DataError, match="code 9"):
        tokens.validate()


def test_parts_are_written_one_after_the_other(tmp_path: Path) -> None:
    parts = [Tokens.from_arrays({f"u{i}": np.full((2, i + 1), i)}, SIZES, RATE_HZ) for i in range(3)]
    with Tokens.writer(tmp_path / "t.parquet", SIZES, RATE_HZ) as add:
        for part in parts:
            add(part)
    assert pq.read_metadata(tmp_path / "t.parquet").num_row_groups == 3
    tokens = Tokens.load(tmp_path / "t.parquet")
    assert tokens.lengths() == {"u0": 1, "u1": 2, "u2": 3}
    assert sum(len(batch) for batch in tokens.batches(layers=1)) == 6
    assert {batch.codes.shape[1] for batch in tokens.batches(layers=1)} == {1}
