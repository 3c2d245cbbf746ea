"""The HDP-HSMM (Johnson and Willsky 2013, JMLR 14) in its weak-limit approximation.

beta ~ Dir(gamma / S, ..., gamma / S), and rows of transitions pi_i ~ Dir(alpha beta) without entry i: states compete in
all rows at once and unused ones fade, so S is only an upper bound of their number. Johnson and Willsky sample; here the
same model has variational posteriors, as in their stochastic variant (2014, ICML), with a Dirichlet q(beta) in place of
a point, and merge moves (Hughes, Kim and Sudderth 2015) against two states that model the same segments.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from phonoscope.studies.collapse.base_measures import WeakLimit
from phonoscope.studies.collapse.emissions import Emission
from phonoscope.studies.collapse.hsmm import HSMM
from phonoscope.studies.collapse.starts import merge_candidates

TRIAL_SWEEPS = 5
"""Sweeps after a merger, before its ELBO is compared."""


class HDPHSMM(HSMM):
    """An HSMM whose rows of transitions, and first states, share a learned base measure."""

    def __init__(self, emission: Emission, d_max: int, *, alpha: float, gamma: float, censored: bool = False) -> None:
        base = WeakLimit(emission.components, gamma)
        super().__init__(emission, d_max, alpha=alpha, base=base, censored=censored)

    @torch.no_grad()
    def fit(self, x: Tensor, mask: Tensor, seed: int, *, sweeps: int = 100, tolerance: float = 1e-5) -> list[float]:
        """The HSMM's fit, then mergers of states, each followed by more sweeps, as long as they raise the ELBO."""
        elbos = super().fit(x, mask, seed, sweeps=sweeps, tolerance=tolerance)
        while self._merge(x, mask, elbos):
            self._ascend(x, mask, elbos, sweeps, tolerance)
        return elbos

    def _merge(self, x: Tensor, mask: Tensor, elbos: list[float]) -> bool:
        weights = self.expectations(x, mask).occupancy[mask]
        for kept, gone in merge_candidates(self.emission, x[mask], weights):
            trial, trial_elbos = copy.deepcopy(self), elbos[-1:]
            trial._pour(x[mask], weights, kept, gone)
            trial._ascend(x, mask, trial_elbos, TRIAL_SWEEPS, 0.0)
            if trial_elbos[-1] > elbos[-1]:
                self.load_state_dict(trial.state_dict())
                elbos.append(trial_elbos[-1])
                return True
        return False

    def _pour(self, frames: Tensor, weights: Tensor, kept: int, gone: int) -> None:
        """Move one state's frames and transitions to another; the durations of the joint state are learnt anew."""
        joined = weights.clone()
        joined[:, kept] += joined[:, gone]
        joined[:, gone] = 0
        self.emission.absorb(self.emission.statistics(frames, joined))
        for view in (self.rows[1:], self.rows.T):  # rows from a state, columns to it
            view[kept] += view[gone]
            view[gone] = 0
        self.rows *= self.allowed
        self.durations[[kept, gone]] = 0
