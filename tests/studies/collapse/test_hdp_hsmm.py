from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from phonoscope.studies.collapse.emissions import Categorical, DiagonalGaussian, Emission
from phonoscope.studies.collapse.hdp_hsmm import HDPHSMM

from .planted import DURATIONS, codes_of, everything, segments, vectors_of


@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_planted_states_and_durations_are_recovered(kind: str) -> None:
    states = segments(30, 50, seed=2)
    x = codes_of(states, 2) if kind == "codes" else vectors_of(states, 2)
    emission: Emission = Categorical(6, 9) if kind == "codes" else DiagonalGaussian(6, 2)
    model = HDPHSMM(emission, 8, alpha=2.0, gamma=2.0, censored=True)
    elbos = model.fit(x, everything(x), 0)
    assert np.diff(elbos).min() > -1e-6 * abs(elbos[-1])
    assert int((emission.shares() > 0.01).sum()) == 3  # of six on offer
    path = model.decode(x, everything(x)).numpy()
    assert adjusted_rand_score(states.ravel(), path.ravel()) > 0.85
    mine = [int(np.bincount(path[states == state], minlength=6).argmax()) for state in range(3)]
    result = model.mean_parameters().durations.exp().numpy()[mine]
    assert (result.argmax(1) == DURATIONS.argmax(1)).all()
    assert float(model.base.mean()[mine].sum()) > 0.85


def test_rows_are_distributions_without_self_transitions() -> None:
    x = codes_of(segments(8, 20, seed=2), 2)
    model = HDPHSMM(Categorical(4, 9), 8, alpha=2.0, gamma=2.0)
    model.fit(x, everything(x), 0, sweeps=3)
    initial, transitions, durations = (value.exp() for value in model.mean_parameters())
    assert (transitions.diagonal() == 0).all()
    for value in (initial[None], transitions, durations, model.base.mean()[None]):
        torch.testing.assert_close(value.sum(1), torch.ones(len(value), dtype=torch.float64))
