from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from phonoscope.config.maps import MapsConfig
from phonoscope.geometry.maps import MOST, CodeMap, map_codes

from .planted import CODES, KINDS, codebook

CONFIG = MapsConfig(max_iter=300, perplexity=8)


def code_map(frames: list[int] | None = None) -> CodeMap:
    made = map_codes(codebook(), np.full(CODES, 3) if frames is None else np.array(frames), CONFIG)
    assert made is not None
    return made


def test_codes_of_one_cluster_lie_together() -> None:
    made = code_map()
    near = NearestNeighbors(n_neighbors=6).fit(made.places).kneighbors(return_distance=False)
    assert (near % KINDS == (np.arange(CODES) % KINDS)[:, None]).mean() > 0.95
    assert made.trustworthiness > 0.9
    assert made.perplexity == 8
    assert made.divergence > 0


def test_the_map_is_one_unit_long_about_its_middle() -> None:
    places = code_map().places
    assert np.ptp(places, axis=0).max() == pytest.approx(1)
    np.testing.assert_allclose(places.min(axis=0), -places.max(axis=0))


def test_codes_that_no_frame_has_are_not_on_the_map() -> None:
    frames = np.where(np.arange(CODES) < 30, 1, 0)
    assert code_map(frames.tolist()).codes.tolist() == list(range(30))


def test_perplexity_shrinks_with_the_codes_and_a_handful_has_no_map() -> None:
    assert code_map([1] * 7 + [0] * (CODES - 7)).perplexity == 2
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


def test_of_very_many_frames_the_first_are_drawn() -> None:
    made = CodeMap(np.array([0, 1]), np.zeros((2, 2)), 1, 1, 0)
    drawn, places, _ = made.place(np.array([0, 1] * 5 + [1] * 2 * MOST))
    assert drawn.tolist() == list(range(len(drawn)))
    assert len(places) == len(drawn) == 5 + MOST
