from __future__ import annotations

import numpy as np
import pytest
import torch

from phonoscope.studies.collapse.hsmm import HSMM

from .planted import assert_recovered, codes_of, emission_of, everything, segments, sequences_of


@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_planted_durations_are_recovered_and_the_elbo_never_falls(kind: str) -> None:
    states = segments(40, 60, seed=0)
    x = sequences_of(kind, states, 0)
    model = HSMM(emission_of(kind, 3), 8, alpha=2.0, censored=True)
    model.start(x, everything(x), 0)
    before = model.log_likelihood(x, everything(x)).sum()
    elbos = model.fit(x, everything(x), 0)
    assert np.diff(elbos).min() > -1e-6 * abs(elbos[-1])
    assert model.log_likelihood(x, everything(x)).sum() > before
    assert_recovered(model.decode(x, everything(x)), states, model.mean_parameters().durations)


def test_expected_durations_beat_a_model_without_them_on_new_sequences() -> None:
    train, held_out = (codes_of(segments(25, 40, seed=seed), seed) for seed in (0, 1))
    likelihood = {}
    for d_max in (1, 8):
        model = HSMM(emission_of("codes", 3), d_max, alpha=2.0, censored=True)
        model.fit(train, everything(train), 0)
        likelihood[d_max] = float(model.log_likelihood(held_out, everything(held_out)).mean())
    assert likelihood[8] > likelihood[1] + 3


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (2, 1200)])
def test_degenerate_sequences_stay_finite(shape: tuple[int, int]) -> None:
    for x in (torch.zeros(shape, dtype=torch.int64), torch.ones(*shape, 2)):
        model = HSMM(emission_of("vectors" if x.ndim == 3 else "codes", 4), 5, alpha=1.0)
        elbos = model.fit(x, everything(x), 0, sweeps=2)
        assert np.isfinite(elbos).all()
        assert model.log_likelihood(x, everything(x)).isfinite().all()
        assert (model.decode(x, everything(x)) >= 0).all()
