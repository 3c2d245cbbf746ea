from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestNeighbors

from phonoscope.config.maps import MapsConfig
from phonoscope.data import Labels
from phonoscope.errors import DataError
from phonoscope.geometry.maps import MOST, CodeMap, map_codes, sample_frames

from .planted_maps import CODES, KINDS, PHONES, codebook, kind_of, planted_labels, planted_tokens

CONFIG = MapsConfig(max_iter=300, perplexity=8)


def test_codes_of_one_cluster_lie_together_on_a_map_one_unit_long() -> None:
    made = map_codes(codebook(), np.full(CODES, 3), CONFIG)
    assert made is not None
    near = NearestNeighbors(n_neighbors=6).fit(made.places).kneighbors(return_distance=False)
    assert (near % KINDS == (np.arange(CODES) % KINDS)[:, None]).mean() > 0.95
    assert made.trustworthiness > 0.9
    assert made.perplexity == 8
    assert made.divergence > 0
    assert np.ptp(made.places, axis=0).max() == pytest.approx(1)
    np.testing.assert_allclose(made.places.min(axis=0), -made.places.max(axis=0))


def test_codes_without_frames_are_not_on_the_map_and_a_handful_has_none() -> None:
    made = map_codes(codebook(), np.array([1] * 7 + [0] * (CODES - 7)), CONFIG)
    assert made is not None
    assert made.codes.tolist() == list(range(7))
    assert made.perplexity == 2
    assert map_codes(codebook(), np.array([5] * 4 + [0] * (CODES - 4)), CONFIG) is None


def test_frames_of_a_code_fill_a_disc_about_its_place_as_large_as_they_are_many() -> None:
    made = CodeMap(np.array([2, 5]), np.array([[-0.5, 0.0], [0.5, 0.0]]), 1, 1, 0)
    codes = np.array([5] * 4 + [2] * 16)
    drawn, places, radius = made.place(codes)
    assert drawn.tolist() == list(range(20))
    few, many = (np.linalg.norm(places[codes == code] - made.places[i], axis=1) for i, code in ((1, 5), (0, 2)))
    assert many.max() / few.max() == pytest.approx(np.sqrt(15.5 / 3.5))
    gaps = NearestNeighbors(n_neighbors=1).fit(places).kneighbors()[0]
    assert gaps.min() > radius  # dots overlap by half at most
    drawn, places, _ = made.place(np.array([2, 5] * 5 + [5] * 2 * MOST))
    assert drawn.tolist() == list(range(len(places))) == list(range(5 + MOST))


def draw(frames: int, per_utterance: int, *, seed: int = 0, layers: tuple[int, ...] = (1, 2)) -> tuple[Any, Any]:
    config = MapsConfig(layers=layers, frames=frames, per_utterance=per_utterance, seed=seed)
    return sample_frames(planted_tokens(), planted_labels(), config)


def test_frames_are_those_of_the_table_each_at_most_once() -> None:
    (table, drawn), every = draw(10_000, 1000), planted_tokens().codes()
    assert list(table) == ["utterance", "phone", "f0_hz"]
    assert sorted(zip(table["utterance"], drawn[1], drawn[2], strict=True)) == sorted(
        (name, *column) for name, codes in every.items() for column in codes.T.tolist()
    )
    assert table["phone"].tolist() == [PHONES[kind_of(code)] for code in drawn[1]]
    np.testing.assert_array_equal(table["f0_hz"], [(100.0, 200.0, np.nan)[kind_of(code)] for code in drawn[1]])


def test_an_utterance_gives_its_share_at_most_and_the_seed_decides_the_order() -> None:
    assert (draw(10_000, 7)[0].value_counts("utterance") == 7).all()
    assert len(draw(20, 7)[0]) == 20
    one, again, other = (draw(10_000, 40, seed=seed)[0] for seed in (1, 1, 2))
    assert one["utterance"].iloc[:60].nunique() == 6
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)


def test_utterances_without_labels_and_layers_that_a_codec_lacks_are_left_out() -> None:
    assert list(draw(10, 40, layers=(2, 8))[1]) == [2]
    with pytest.raises(DataError, match=r"tokens: has none of the layers \[8\]"):
        draw(10, 40, layers=(8,))
    labels = Labels.from_frames(["u1"] * 50, ["AA"] * 50)
    assert set(sample_frames(planted_tokens(), labels, MapsConfig())[0]["utterance"]) == {"u1"}
