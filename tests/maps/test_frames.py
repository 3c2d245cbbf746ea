from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phonoscope.config.maps import MapsConfig
from phonoscope.data import Labels
from phonoscope.errors import DataError
from phonoscope.geometry.maps import SampledFrames, sample_frames

from .planted import PHONES, kind_of, planted_labels, planted_tokens


def draw(frames: int, per_utterance: int, *, seed: int = 0, layers: tuple[int, ...] = (1, 2)) -> SampledFrames:
    config = MapsConfig(layers=layers, frames=frames, per_utterance=per_utterance, seed=seed)
    return sample_frames(planted_tokens(), planted_labels(), config)


def test_frames_are_those_of_the_table_each_at_most_once() -> None:
    sample, every = draw(10_000, 1000), planted_tokens().codes()
    assert list(sample.labels) == ["utterance", "phone", "f0_hz"]
    assert sorted(zip(sample.labels["utterance"], sample.codes[1], sample.codes[2], strict=True)) == sorted(
        (name, *column) for name, codes in every.items() for column in codes.T.tolist()
    )
    assert sample.labels["phone"].tolist() == [PHONES[kind_of(code)] for code in sample.codes[1]]
    f0_hz = [{0: 100.0, 1: 200.0}.get(kind_of(code), np.nan) for code in sample.codes[1]]
    np.testing.assert_array_equal(sample.labels["f0_hz"], f0_hz)


def test_an_utterance_gives_no_more_than_its_share_and_frames_come_in_random_order() -> None:
    assert (draw(10_000, 7).labels.value_counts("utterance") == 7).all()
    assert len(draw(20, 7).labels) == 20
    utterances = draw(10_000, 40).labels["utterance"]
    assert not utterances.is_monotonic_increasing
    assert utterances.iloc[:60].nunique() == 6


def test_the_seed_decides() -> None:
    one, again, other = (draw(50, 40, seed=seed).labels for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)


def test_utterances_without_labels_and_layers_that_a_codec_lacks_are_left_out() -> None:
    assert list(draw(10, 40, layers=(2, 8)).codes) == [2]
    with pytest.raises(DataError, match=r"tokens: has none of the layers \[8\]"):
        draw(10, 40, layers=(8,))
    labels = Labels.from_frames(["u1"] * 50, ["AA"] * 50)
    assert set(sample_frames(planted_tokens(), labels, MapsConfig()).labels["utterance"]) == {"u1"}
