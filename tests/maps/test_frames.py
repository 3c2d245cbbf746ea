from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from phonoscope.config.maps import MapsConfig
from phonoscope.errors import DataError
from phonoscope.maps.frames import sample_frames

from .planted import tokens, write_tokens

KEY = ["utterance", "code_1", "code_2"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.parquet"
    write_tokens(path, tokens())
    return path


def drawn(
    path: Path, frames: int, per_utterance: int, *, seed: int = 0, layers: tuple[int, ...] = (1, 2)
) -> pd.DataFrame:
    return sample_frames(path, MapsConfig(layers=layers, frames=frames, per_utterance=per_utterance, seed=seed))


def test_frames_are_those_of_the_table_each_at_most_once(table: Path) -> None:
    found = drawn(table, 10_000, 1000)
    assert list(found.columns) == ["utterance", "phone", "f0_hz", "code_1", "code_2"]
    every = tokens()[found.columns].astype({"utterance": object, "phone": object})
    sort = found.astype({"utterance": object, "phone": object}).sort_values(KEY, ignore_index=True)
    pd.testing.assert_frame_equal(sort, every.sort_values(KEY, ignore_index=True), check_dtype=False)


def test_an_utterance_gives_no_more_than_its_share(table: Path) -> None:
    assert (drawn(table, 10_000, 7).value_counts("utterance") == 7).all()
    assert len(drawn(table, 20, 7)) == 20


def test_frames_come_in_random_order_so_that_drawing_some_of_a_code_is_fair(table: Path) -> None:
    found = drawn(table, 10_000, 40)
    assert not found["utterance"].is_monotonic_increasing
    assert found["utterance"].iloc[:60].nunique() == 6


def test_the_seed_decides(table: Path) -> None:
    one, again, other = (drawn(table, 50, 40, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)


def test_layers_that_a_codec_lacks_are_left_out(table: Path) -> None:
    assert [name for name in drawn(table, 10, 40, layers=(2, 8)).columns if name.startswith("code")] == ["code_2"]
    with pytest.raises(DataError, match=r"tokens\.parquet: has none of the layers \[8\]; change maps\.layers"):
        drawn(table, 10, 40, layers=(8,))


def test_a_missing_table_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such token table; run `dvc repro encode`"):
        drawn(tmp_path / "gone.parquet", 10, 40)
