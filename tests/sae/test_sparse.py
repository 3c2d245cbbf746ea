"""Sparse products and their gradients against dense ones, and the selection of entries by brute force."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phonoscope.sae.sparse import Pattern, Preactivations, batch_top_k, decode, sddmm, spmm, spmm_t, top_k


@pytest.fixture(params=[0.3, 0.0])
def mask(request: pytest.FixtureRequest) -> Tensor:
    active = torch.rand(7, 11, generator=torch.Generator().manual_seed(0)) < request.param
    active[3] = False  # a frame and a feature without entries
    active[:, 5] = False
    return active


def _pattern(mask: Tensor) -> Pattern:
    rows, columns = mask.nonzero(as_tuple=True)
    return Pattern(rows, columns, *mask.shape)


def _mask(pattern: Pattern) -> Tensor:
    mask = torch.zeros(pattern.n, pattern.width, dtype=torch.bool)
    mask[pattern.rows, pattern.columns] = True
    assert int(mask.sum()) == len(pattern.rows)
    return mask


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_products_are_those_of_the_dense_matrix(mask: Tensor) -> None:
    pattern, dense = _pattern(mask), mask * _random(7, 11, seed=1)
    left, right = _random(7, 4, seed=2), _random(11, 4, seed=3)
    torch.testing.assert_close(spmm(pattern, dense[mask], right), dense @ right)
    torch.testing.assert_close(spmm_t(pattern, dense[mask], left), dense.T @ left)
    torch.testing.assert_close(sddmm(pattern, left, right), (left @ right.T)[mask])


def test_gradients_are_those_of_autograd_on_dense_matrices(mask: Tensor) -> None:
    pattern = _pattern(mask)
    x, weights = _random(7, 4, seed=1), _random(7, 3, seed=5)
    leaves = [_random(*shape, seed=6 + i) for i, shape in enumerate([(4,), (11, 4), (11,), (11, 3)])]
    dense = [leaf.clone().requires_grad_() for leaf in leaves]
    sparse = [leaf.clone().requires_grad_() for leaf in leaves]

    def activations(input_bias: Tensor, encoder: Tensor, encoder_bias: Tensor) -> Tensor:
        return (x - input_bias) @ encoder.T + encoder_bias

    output = (activations(*dense[:3]) * mask) @ dense[3]
    (output * weights).sum().backward()
    values = activations(*leaves[:3])[mask]
    input_bias, encoder, encoder_bias, decoder = sparse
    kept = Preactivations.apply(values, x, input_bias, encoder, encoder_bias, pattern)
    ours = decode(pattern, kept, decoder)
    torch.testing.assert_close(ours, output)
    (ours * weights).sum().backward()
    for mine, theirs in zip(sparse, dense, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_top_k_keeps_the_positive_ones_among_the_largest_of_each_row() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, -1.0], [-3.0, -1.0, 0.5, -2.0]])
    assert _mask(top_k(scores, 2)).tolist() == [[True, False, True, False], [False, False, True, False]]


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 20), st.floats(0, 3), st.floats(-2, 2), st.data())
def test_batch_top_k_keeps_the_largest_of_the_batch_whatever_the_guess(
    seed: int, n: int, width: int, guess: float, shift: float, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, width))
    scores = torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) + shift
    pattern, smallest = batch_top_k(scores, k, guess)
    wanted = min(k * n, int((scores > 0).sum()))
    cut = scores.flatten().sort(descending=True).values[wanted - 1] if wanted else torch.inf
    assert torch.equal(_mask(pattern), (scores >= cut))
    assert torch.equal(pattern.rows, pattern.rows.sort().values)
    assert 0 <= smallest <= (float(cut) if wanted else 0)
