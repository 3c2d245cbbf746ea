import numpy as np
import pytest
import torch

from phonoscope.studies.collapse import HDPHSMM, HSMM

from .planted import assert_recovered, codes_of, emission_of, everything, segments, sequences_of, shapes


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


@shapes
@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_degenerate_sequences_stay_finite(shape: tuple[int, int], kind: str) -> None:
    x = torch.zeros(shape, dtype=torch.int64) if kind == "codes" else torch.ones(*shape, 2)
    model = HSMM(emission_of(kind, 4), 5, alpha=1.0)
    assert np.isfinite(model.fit(x, everything(x), 0, sweeps=2)).all()
    assert model.log_likelihood(x, everything(x)).isfinite().all()
    assert (model.decode(x, everything(x)) >= 0).all()


@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_the_hdp_hsmm_recovers_planted_states_and_durations(kind: str) -> None:
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
