"""The explicit-duration hidden semi-Markov model's sums and maxima over all segmentations, in log space.

A sequence is cut into segments; a segment of state j lasts d frames with p_j(d), 1 <= d <= Dmax, and is followed by a
segment of another state i with A_ji (A_jj = 0). One recursion (Yu 2010, Artificial Intelligence 174, sec. 2.2; cost
O(T (S^2 + S Dmax))) gives everything: with log-sum-exp its value is the likelihood and its gradients are the expected
counts of EM; with max its value is the best segmentation's score and its gradient marks that segmentation (Eisner 2016,
"Inside-outside and forward-backward algorithms are just backprop").
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from phonoscope.studies.collapse.base_measures import LOG_ZERO

Reduction = Callable[[Tensor, int], Tensor]


class LogParameters(NamedTuple):
    """Log weights of the segments' Markov chain; they need not be normalised."""

    initial: Tensor  # [S]
    transitions: Tensor  # [S, S], from row to column; `LOG_ZERO` on the diagonal
    durations: Tensor  # [S, Dmax] or [B, S, Dmax]; entry d - 1 is of duration d


class ExpectedCounts(NamedTuple):
    """Posterior expectations over the segmentations of a batch."""

    log_likelihood: Tensor  # [B]
    occupancy: Tensor  # [B, T, S]: probability of each state at each frame; 0 at padding
    initial: Tensor  # [S]: first segments
    transitions: Tensor  # [S, S]: segments of one state followed by one of another
    durations: Tensor  # [B, S, Dmax]: segments of each state and duration


def log_partition(
    log_emissions: Tensor,
    parameters: LogParameters,
    lengths: Tensor,
    *,
    censored: bool = False,
    reduce: Reduction = torch.logsumexp,
) -> Tensor:
    """log p(x) of every sequence: [B].

    log_emissions [B, T, S] are log b_j(x_t), lengths [B] the frames that count. `censored`: the last segment may
    continue after the end, and counts with P(D >= d). Differentiable in the emissions and parameters, also twice.
    """
    batch, steps, _ = log_emissions.shape
    real = torch.arange(steps)[:, None, None] < lengths[:, None]
    frames = torch.where(real, log_emissions.transpose(0, 1), 0.0)
    totals = torch.cat([torch.zeros_like(frames[:1]), frames.cumsum(0)])  # [T + 1, B, S]
    durations = parameters.durations.expand(batch, -1, -1).permute(2, 0, 1)  # [Dmax, B, S]
    backwards = durations.flip(0)
    # begins[t]: log weight of all segmentations of the first t frames with state j next, minus the emissions up to t.
    # The difference of cumulative emissions (`totals`) is then the emission of a segment, whatever its start
    begins = [parameters.initial.expand(batch, -1)]
    for t in range(1, steps):
        # ends[j]: the segment of state j that ends here began d = 1 ... Dmax frames ago
        window = torch.stack(begins[-len(durations) :])
        ends = totals[t] + reduce(window + backwards[-len(window) :], 0)
        begins.append(reduce(ends[:, :, None] + parameters.transitions, 1) - totals[t])
    # the last segment: a sum over its state and duration, with log P(D >= d) in place of log p(d) if censored
    last = durations.flip(0).logcumsumexp(0).flip(0) if censored else durations
    start = lengths - torch.arange(1, len(last) + 1)[:, None]  # [Dmax, B]
    rows = torch.arange(batch)
    scores = torch.stack(begins)[start.clamp_min(0), rows] + last + totals[lengths, rows]
    scores = torch.where((start >= 0)[..., None], scores, LOG_ZERO)
    return reduce(scores.permute(1, 0, 2).flatten(1), 1)


def expected_counts(
    log_emissions: Tensor,
    parameters: LogParameters,
    lengths: Tensor,
    *,
    censored: bool = False,
    reduce: Reduction = torch.logsumexp,
    differentiable: bool = False,
) -> ExpectedCounts:
    """Gradients of `log_partition`: posterior expectations of segments. Shapes as there.

    `differentiable`: the occupancy and durations have gradients to `log_emissions`.
    """
    with torch.enable_grad():
        scores = log_emissions if differentiable else log_emissions.detach().requires_grad_()
        initial, transitions = (value.detach().requires_grad_() for value in parameters[:2])
        # a copy for each sequence, so that its gradient is the expected counts by sequence
        durations = parameters.durations.detach().expand(len(lengths), -1, -1).clone().requires_grad_()
        chain = LogParameters(initial, transitions, durations)
        value = log_partition(scores, chain, lengths, censored=censored, reduce=reduce)
        grads = torch.autograd.grad(value.sum(), (scores, *chain), create_graph=differentiable, materialize_grads=True)
    return ExpectedCounts(value if differentiable else value.detach(), *grads)


def viterbi(
    log_emissions: Tensor, parameters: LogParameters, lengths: Tensor, *, censored: bool = False
) -> tuple[Tensor, Tensor]:
    """The states [B, T] of the best segmentation (-1 at padding), and its score [B]."""
    # the gradient of max(dim) goes to one entry only, so that ties leave one path; amax would share it out
    best = expected_counts(
        log_emissions, parameters, lengths, censored=censored, reduce=lambda values, dim: values.max(dim).values
    )
    real = torch.arange(log_emissions.shape[1]) < lengths[:, None]
    return torch.where(real, best.occupancy.argmax(-1), -1), best.log_likelihood
