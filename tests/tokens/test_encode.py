from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from phonoscope.tokens.encode import (
    EncodedUtterance,
    code_statistics,
    latent_table,
    spread,
    token_schema,
    token_table,
)

RATE_HZ = 50.0


class PlantedLabels:
    """Phones and F0 that say which utterance and frame they belong to."""

    def phones(self, utterance: str, n_frames: int, frame_rate_hz: float) -> list[str]:
        assert frame_rate_hz == RATE_HZ
        return [f"{utterance}{frame // 3}" for frame in range(n_frames)]

    def f0_hz(self, utterance: str, n_frames: int, frame_rate_hz: float) -> NDArray[np.float32]:
        track = np.arange(n_frames, dtype=np.float32) + 100
        track[::4] = np.nan
        return track


def encoded(utterance: str, n_frames: int, n_layers: int = 3) -> EncodedUtterance:
    codes = np.arange(n_layers)[:, None] * 100 + np.arange(n_frames)[None]
    return EncodedUtterance(utterance, codes.astype(np.int16))


def test_a_row_holds_the_codes_and_labels_of_its_frame() -> None:
    table = token_table(encoded("a", 9), PlantedLabels(), RATE_HZ)
    assert table.schema == token_schema(3)
    rows = table.to_pylist()
    assert [row["frame"] for row in rows] == list(range(9))
    for frame, row in enumerate(rows):
        assert row["utterance"] == "a"
        assert row["phone"] == f"a{frame // 3}"
        assert [row[f"code_{layer}"] for layer in (1, 2, 3)] == [frame, 100 + frame, 200 + frame]
        assert math.isnan(row["f0_hz"]) if frame % 4 == 0 else row["f0_hz"] == frame + 100
    assert table["f0_hz"].null_count == 0  # unvoiced is NaN, not null


@given(st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=60), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_code_statistics_are_those_of_counting(layers: list[list[int]]) -> None:
    counts = np.array([np.bincount(codes, minlength=8) for codes in layers], dtype=np.int64)
    table = code_statistics(counts).set_index(["layer", "metric"])
    for index, codes in enumerate(layers, start=1):
        shares = [n / len(codes) for n in Counter(codes).values()]
        nats = -sum(share * math.log(share) for share in shares)
        values: Any = table.loc[index, "value"]
        assert values["perplexity"] == pytest.approx(math.exp(nats))
        assert values["normalised_entropy"] == pytest.approx(nats / math.log(8), abs=1e-12)
        assert values["used_codes"] == len(set(codes))
        assert set(table.loc[index, "n"]) == {len(codes)}


@given(st.integers(1, 200), st.integers(1, 60))
def test_spread_reaches_from_the_first_to_the_last_at_even_distances(n: int, count: int) -> None:
    items = [str(index) for index in range(n)]
    chosen = [int(item) for item in spread(items, count)]
    assert len(chosen) == len(set(chosen)) == min(n, count)
    assert chosen[0] == 0
    if len(chosen) > 1:
        gaps = np.diff(chosen)
        assert chosen[-1] == n - 1
        assert gaps.max() - gaps.min() <= 1


def test_spread_of_nothing_is_nothing() -> None:
    assert spread([], 5) == []


def test_latents_are_means_over_time_and_no_frame_gives_no_row() -> None:
    rng = np.random.default_rng(0)
    latents = {"b": rng.normal(size=(4, 7)), "short": np.zeros((4, 0)), "a": rng.normal(size=(4, 1))}
    table = latent_table({name: values.astype(np.float32) for name, values in latents.items()})
    assert table["utterance"].to_pylist() == ["b", "a"]
    assert table["latent"].type.list_size == 4
    for name, found in zip(("b", "a"), table["latent"].to_pylist(), strict=True):
        np.testing.assert_allclose(found, latents[name].mean(axis=1), rtol=1e-6)
