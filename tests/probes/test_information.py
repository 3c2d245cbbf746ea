from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score

from phonoscope.probes.information import mutual_information, permute_labels, plug_in_bits, pointwise_bits

JOINT = np.array([[0.2, 0.05, 0.05], [0.05, 0.2, 0.05], [0.05, 0.05, 0.1], [0.05, 0.05, 0.1]])


def draw(joint: NDArray[np.float64], frames: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    cells = rng.choice(joint.size, size=frames, p=joint.ravel())
    return cells // joint.shape[1], cells % joint.shape[1]


def test_the_plug_in_estimate_is_that_of_scikit_learn() -> None:
    codes, labels = draw(JOINT, 500, 0)
    counts = np.zeros(JOINT.shape)
    np.add.at(counts, (codes, labels), 1)
    assert plug_in_bits(counts) == pytest.approx(mutual_info_score(codes, labels) / np.log(2))
    counts[0] = 0
    assert np.isfinite(pointwise_bits(counts)).all()


def test_independent_labels_have_no_information_within_its_error() -> None:
    independent = np.outer(np.full(64, 1 / 64), np.full(8, 1 / 8))
    estimates = []
    for seed in range(40):
        codes, labels = draw(independent, 2_000, seed)
        estimates.append(mutual_information(codes, labels, np.arange(2_000) // 20, (64, 8), draws=10, seed=seed))
    assert min(f.null for f in estimates) > 0.1  # the plug-in estimate alone would report as much
    assert abs(np.mean([f.value for f in estimates])) < 0.003
    assert np.mean([f.low <= 0 <= f.high for f in estimates]) >= 0.9


@pytest.mark.parametrize(
    ("frames", "unit", "copies", "least", "most"),
    [(600, 10, 1, 0.85, 0.96), (200, 8, 8, 0.82, 0.97)],
    ids=["independent", "repeated"],
)
def test_intervals_cover_the_truth_at_their_rate(
    frames: int, unit: int, copies: int, least: float, most: float
) -> None:
    """Also where a unit repeats one pair eight times, which is the evidence of an eighth of the frames."""
    truth, hits = float((JOINT * np.log2(JOINT / np.outer(JOINT.sum(axis=1), JOINT.sum(axis=0)))).sum()), 0
    for seed in range(200):
        codes, labels = (part.repeat(copies) for part in draw(JOINT, frames, seed))
        units = np.arange(len(codes)) // unit
        bits = mutual_information(codes, labels, units, JOINT.shape, draws=10, seed=seed, confidence=0.9)
        hits += bits.low <= truth <= bits.high
    assert least <= hits / 200 <= most


def test_permuting_moves_the_labels_of_units() -> None:
    units, constant = np.array([2, 2, 2, 0, 0, 1, 1, 1, 1]), np.array([5, 5, 5, 7, 7, 9, 9, 9, 9])
    before, after = (set(zip(units, labels, strict=True)) for labels in (constant, permute_labels(constant, units, 0)))
    assert after != before
    assert len(after) == 3
    assert {label for _, label in after} == {5, 7, 9}


def test_permuted_sequences_keep_their_order() -> None:
    units, labels = np.repeat(np.arange(30), 20), np.tile(np.repeat([0, 1], 10), 30)
    permuted = permute_labels(labels, units, seed=0)
    changes = [int((np.diff(np.append(part, part[:1])) != 0).sum()) for part in permuted.reshape(30, 20)]
    assert set(changes) == {2}  # two runs in a circle of 20 frames, as before
    assert (permuted != labels).any()
    assert np.bincount(permuted).tolist() == np.bincount(labels).tolist()
