from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phonoscope.errors import DataError
from phonoscope.probes.stream import stream_frames

from .planted import make_corpus

CODEBOOK = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(CODEBOOK, utterances=6, frames=20).write(tmp_path_factory.mktemp("tokens") / "tokens.parquet")


@pytest.mark.parametrize("batch_frames", [7, 65_536])
def test_batches_hold_the_frames_asked_for(tokens: Path, batch_frames: int) -> None:
    corpus = make_corpus(CODEBOOK, utterances=6, frames=20)
    wanted = ["u004", "u001", "u099"]
    batches = list(stream_frames(tokens, wanted, layers=2, size=32, batch_frames=batch_frames))
    utterances = np.concatenate([batch.utterances for batch in batches])
    phones = [batch.phone_names[i] for batch in batches for i in batch.phones]
    rows = np.isin(corpus.utterance, [1, 4])
    np.testing.assert_array_equal(utterances, np.where(corpus.utterance[rows] == 4, 0, 1))
    np.testing.assert_array_equal(np.concatenate([batch.codes for batch in batches]), corpus.codes[rows])
    assert phones == [phone for phone, row in zip(corpus.phone, rows, strict=True) if row]
    np.testing.assert_array_equal(np.concatenate([batch.f0_hz for batch in batches]), corpus.f0_hz[rows])


def test_frames_without_a_phone_are_marked(tmp_path: Path) -> None:
    corpus = make_corpus(CODEBOOK, utterances=2, frames=5)
    corpus.phone[3] = None
    batch = next(stream_frames(corpus.write(tmp_path / "t.parquet"), ["u000"], layers=1, size=32))
    assert [i == -1 for i in batch.phones] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("layers", "size", "message"),
    [(3, 32, r"lacks the columns \['code_3'\]"), (2, 8, "for a codebook of 8 rows")],
)
def test_a_table_that_does_not_fit_is_refused(tokens: Path, layers: int, size: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(stream_frames(tokens, ["u000"], layers=layers, size=size))


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such token table"):
        next(stream_frames(tmp_path / "none.parquet", ["u000"], layers=1, size=8))


def test_plain_strings_are_read_too(tmp_path: Path) -> None:
    table = pa.table({"utterance": ["a"], "phone": ["AA"], "f0_hz": pa.array([1.0], pa.float32()), "code_1": [3]})
    pq.write_table(table, tmp_path / "t.parquet")
    batch = next(stream_frames(tmp_path / "t.parquet", ["a"], layers=1, size=8))
    assert (batch.phone_names, batch.codes.tolist()) == (("AA",), [[3]])
