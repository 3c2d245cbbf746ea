from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from phonoscope.errors import DataError
from phonoscope.vq.usage import CodeUsage, active_codes, perplexity, perplexity_clamped

COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=40).filter(any)


@given(COUNTS)
def test_perplexity_is_the_exponential_of_scipys_entropy(counts: list[int]) -> None:
    value = float(perplexity(torch.tensor(counts)))
    assert value == pytest.approx(math.exp(entropy(np.array(counts, dtype=float))), rel=1e-12)
    assert 1 <= value <= len(counts) * (1 + 1e-12)


@pytest.mark.parametrize(("codes", "printed"), [(512, 1.0606), (256, 1.0298)])
def test_one_code_has_a_perplexity_of_exactly_one_but_the_clamped_formula_prints_more(
    codes: int, printed: float
) -> None:
    counts = 7 * torch.eye(codes, dtype=torch.int64)[3]
    assert float(perplexity(counts)) == 1.0
    assert int(active_codes(counts)) == 1
    assert float(perplexity_clamped(counts)) == pytest.approx(printed, abs=5e-5)


def test_a_geometric_history_of_one_code_a_batch_reads_as_53_codes() -> None:
    history = 0.95 ** torch.arange(512, dtype=torch.float64)
    assert float(perplexity(history)) == pytest.approx(53.0, abs=0.05)
    assert int(active_codes(history, 1e-3)) == 77


def test_what_is_no_usage_is_refused() -> None:
    for counts in ([0, 0], [1, -1], [1.0, math.nan], [math.inf, 1.0]):
        with pytest.raises(DataError, match="code"):
            perplexity(torch.tensor(counts))
    with pytest.raises(DataError, match="from 0 to 8, but the codebook has 8"):
        CodeUsage(1, 8).add(torch.tensor([[0], [8]]))
    with pytest.raises(DataError, match="no code was counted"):
        CodeUsage(1, 8).perplexity_dataset()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 2**32))
def test_a_datasets_usage_does_not_depend_on_its_batches(sizes: list[int], seed: int) -> None:
    codes = torch.randint(8, (sum(sizes), 3), generator=torch.Generator().manual_seed(seed))
    whole, parts = CodeUsage(3, 8), CodeUsage(3, 8)
    whole.add(codes)
    for part in codes.split(sizes):
        parts.add(part)
    assert torch.equal(whole.counts, parts.counts)
    truth = [math.exp(entropy(column.bincount())) for column in codes.t()]
    assert whole.perplexity_dataset().tolist() == pytest.approx(truth)
    assert active_codes(whole.counts).tolist() == [len(column.unique()) for column in codes.t()]
