from __future__ import annotations

import numpy as np

from phonoscope.sae.interpret.accents import accent_profiles, skip_reason, tsne


def test_profiles_of_accents_that_are_alike_are_near() -> None:
    rng = np.random.default_rng(0)
    centres = {"rp": np.zeros(30), "scotland": np.r_[np.ones(5), np.zeros(25)], "us": np.full(30, 4.0)}
    accents = [name for name in centres for _ in range(3)]
    means = np.stack([centres[name] + 0.1 * rng.normal(size=30) for name in accents])
    names, profiles = accent_profiles(np.c_[means, np.ones(9)], accents)
    assert names == ("rp", "scotland", "us")
    assert profiles.shape == (3, 30)
    rp, scotland, us = profiles
    assert np.linalg.norm(rp - scotland) < np.linalg.norm(rp - us)
    names, profiles = accent_profiles(np.array([[0.0], [2.0], [99.0]]), ["a", "b", ""])  # no accent: left out
    assert (names, profiles.tolist()) == (("a", "b"), [[-1.0], [1.0]])


def test_one_accent_is_a_reason_to_skip() -> None:
    assert "one accent (rp)" in skip_reason(["rp", "rp", ""])
    assert "no accents" in skip_reason(["", ""])
    assert skip_reason(["rp", "us"]) == ""


def test_maps_keep_clusters_apart() -> None:
    rng = np.random.default_rng(0)
    points = np.r_[np.tile([5.0, 0, 0], (20, 1)), np.tile([0, 5.0, 0], (20, 1))] + 0.1 * rng.normal(size=(40, 3))
    left, right = np.split(tsne(points, 1), 2)
    assert np.linalg.norm(left.mean(0) - right.mean(0)) > left.std() + right.std()
