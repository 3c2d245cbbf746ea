from __future__ import annotations

import numpy as np
import pytest
import torch

from phonoscope.studies.collapse.hdp_hsmm import HDPHSMM

from .planted import assert_recovered, codes_of, emission_of, everything, segments, sequences_of


@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_planted_states_and_durations_are_recovered(kind: str) -> None:
    states = segments(30, 50, seed=2)
    x, emission = sequences_of(kind, states, 2), emission_of(kind, 6)
    model = HDPHSMM(emission, 8, alpha=2.0, gamma=2.0, censored=True)
    elbos = model.fit(x, everything(x), 0)
    assert np.diff(elbos).min() > -1e-6 * abs(elbos[-1])
    assert int((emission.shares() > 0.01).sum()) == 3  # of six on offer
    numbers = assert_recovered(model.decode(x, everything(x)), states, model.mean_parameters().durations)
    assert float(model.base.mean()[numbers].sum()) > 0.85


def test_rows_are_distributions_without_self_transitions() -> None:
    x = codes_of(segments(8, 20, seed=2), 2)
    model = HDPHSMM(emission_of("codes", 4), 8, alpha=2.0, gamma=2.0)
    model.fit(x, everything(x), 0, sweeps=3)
    initial, transitions, durations = (value.exp() for value in model.mean_parameters())
    assert (transitions.diagonal() == 0).all()
    for value in (initial[None], transitions, durations, model.base.mean()[None]):
        torch.testing.assert_close(value.sum(1), torch.ones(len(value), dtype=torch.float64))
