"""Which entries are active, by brute force."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.sae.selection import above, batch_top_k, top_k
from phonoscope.sae.sparse import Pattern


def _dense(pattern: Pattern) -> torch.Tensor:
    mask = torch.zeros(pattern.n, pattern.width, dtype=torch.bool)
    mask[pattern.rows, pattern.columns] = True
    assert int(mask.sum()) == len(pattern.rows)
    return mask


def test_top_k_keeps_the_positive_ones_among_the_largest_of_each_row() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, -1.0], [-3.0, -1.0, 0.5, -2.0]])
    assert _dense(top_k(scores, 2)).tolist() == [[True, False, True, False], [False, False, True, False]]


def test_above_takes_one_floor_or_one_a_feature() -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    assert _dense(above(scores, 1.5)).tolist() == [[False, True], [True, False]]
    assert _dense(above(scores, torch.tensor([2.0, -1.0]))).tolist() == [[False, True], [True, True]]


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 12),
    width=st.integers(1, 20),
    guess=st.floats(0, 3),
    shift=st.floats(-2, 2),
    data=st.data(),
)
def test_batch_top_k_keeps_the_largest_of_the_batch_whatever_the_guess(
    seed: int, n: int, width: int, guess: float, shift: float, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, width))
    scores = torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) + shift
    pattern, smallest = batch_top_k(scores, k, guess)
    wanted = min(k * n, int((scores > 0).sum()))
    cut = scores.flatten().sort(descending=True).values[wanted - 1] if wanted else torch.inf
    assert torch.equal(_dense(pattern), (scores >= cut))
    assert torch.equal(pattern.rows, pattern.rows.sort().values)
    assert 0 <= smallest <= (float(cut) if wanted else 0)
