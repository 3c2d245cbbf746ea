from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from phonoscope.errors import DataError
from phonoscope.vq.diagnosis import VERDICTS, Diagnosis, Observed, diagnose, observe_counts, observe_vectors
from phonoscope.vq.quantizers import build_quantizer
from phonoscope.vq.states import Book, QuantizerState, read_state
from phonoscope.vq.usage import CodeUsage

from .clusters import Clusters


def trained(kind: Any, steps: int = 60, layers: int = 1, **changes: Any) -> tuple[Any, Clusters]:
    data = Clusters(count=40, dim=16)
    quantizer = build_quantizer(kind, 16, 64, layers=layers, **changes)
    quantizer.start(data.draw(400))
    for _ in range(steps):
        quantizer.train()(data.draw(300))
    return quantizer.eval(), data


def state_of(*books: Book) -> QuantizerState:
    return QuantizerState("ema", list(books))


def rows(codes: int = 64, dim: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(codes, dim, generator=torch.Generator().manual_seed(seed)).double()


def healthy_book(**changes: Any) -> Book:
    sizes = torch.full((64,), 5.0).double()
    values = {"vectors": rows(), "sizes": sizes, "sums": rows() * sizes[:, None], **changes}
    return Book("book", **values)


def layer(diagnosis: Diagnosis) -> dict[str, Any]:
    return diagnosis.evidence["layers"][0]


@pytest.mark.parametrize("changes", [{}, {"unit_codes": True}, {"layers": 3}], ids=["plain", "unit", "stacked"])
def test_a_rightly_trained_quantizer_is_healthy(changes: dict[str, Any]) -> None:
    quantizer, data = trained("ema", **changes)
    state = read_state(quantizer.state_dict())
    for found in (diagnose(state), diagnose(state, observe_vectors(state, data.draw(2000)))):
        assert found.verdict == "healthy", found.evidence["reasons"]
        assert found.healthy
        assert found.evidence["reasons"] == found.evidence["not_judged"] == []
        ratio = layer(found)["norm_over_centroid"]
        assert ratio == (None if "unit_codes" in changes else pytest.approx(1, abs=0.01))


def test_the_unscaled_update_is_named_from_the_state_alone() -> None:
    quantizer, data = trained("ema_unscaled")
    state = read_state(quantizer.state_dict())
    found = diagnose(state)
    assert found.verdict == "unscaled_ema"
    numbers = layer(found)
    assert numbers["norm_over_centroid"] == pytest.approx(numbers["ema_count"], rel=0.01)
    assert "n is" in found.evidence["reasons"][0]
    seen = layer(diagnose(state, observe_vectors(state, data.draw(2000))))
    assert seen["perplexity_dataset"] < 6
    assert seen["input_norm_median"] == pytest.approx(1)


def test_the_unscaled_update_is_named_by_the_inputs_where_the_sums_were_not_kept() -> None:
    quantizer, data = trained("ema_unscaled")
    tensors = {name: tensor for name, tensor in quantizer.state_dict().items() if not name.endswith("embed_avg")}
    state = read_state(tensors)
    found = diagnose(state, observe_vectors(state, data.draw(2000)))
    assert found.verdict == "unscaled_ema"
    assert "those of the inputs" in found.evidence["reasons"][0]
    assert "scale of the codes" in diagnose(state).evidence["not_judged"][0]


def test_a_dataset_is_measured_as_the_quantizer_itself_does() -> None:
    quantizer, data = trained("ema", layers=3)
    z, usage = data.draw(3000) * 7, CodeUsage(3, 64)  # the quantizer normalises its inputs
    usage.add(quantizer(z).codes)
    state = read_state(quantizer.state_dict())
    for observed in (observe_vectors(state, z), observe_counts(state, list(usage.counts))):
        found = diagnose(state, observed).evidence["layers"]
        assert [numbers["perplexity_dataset"] for numbers in found] == pytest.approx(
            usage.perplexity_dataset().tolist(), rel=1e-3
        )
        assert [numbers["active_dataset"] for numbers in found] == usage.active().tolist()
        assert [numbers["vectors"] for numbers in found] == [3000] * 3
        assert [numbers["perplexity_ema"] for numbers in found] == pytest.approx(quantizer.perplexity_ema().tolist())


PLANTED: dict[str, tuple[Book, list[Observed]]] = {
    "not_finite": (healthy_book(vectors=rows().index_fill(0, torch.tensor([3]), float("nan"))), []),
    "inconsistent_sums": (healthy_book(sums=rows() * 15), []),
    "codes_off_scale": (healthy_book(sums=None), [Observed(torch.full((64,), 9), 400.0)]),
    "collapsed": (healthy_book(), [Observed(torch.tensor([990, 10] + [0] * 62))]),
    "duplicates": (healthy_book(vectors=rows()[:32].repeat(2, 1), sums=None), []),
    "dead_codes": (healthy_book(), [Observed(torch.tensor([100] * 30 + [0] * 34))]),
}


@pytest.mark.parametrize("verdict", list(PLANTED))
def test_planted_faults_are_named(verdict: str) -> None:
    book, observed = PLANTED[verdict]
    found = diagnose(state_of(book), observed)
    assert found.verdict == verdict
    assert found.evidence["meaning"] == VERDICTS[verdict]
    assert found.evidence["reasons"][0].startswith("layer 1: ")
    json.dumps(found.evidence, allow_nan=False)


def test_collapse_and_death_show_in_the_ema_where_there_are_no_data() -> None:
    one = F.one_hot(torch.tensor(5), 64).double() * 300
    assert diagnose(state_of(healthy_book(sizes=one, sums=rows() * one[:, None]))).verdict == "collapsed"
    few = torch.cat([torch.full((20,), 15.0), torch.full((44,), 1e-4)]).double()
    found = diagnose(state_of(healthy_book(sizes=few, sums=rows() * few[:, None])))
    assert (found.verdict, layer(found)["dead_ema"]) == ("dead_codes", 44)


def test_too_few_data_do_not_condemn() -> None:
    counts = torch.tensor([40, 3] + [0] * 62)
    assert diagnose(state_of(healthy_book()), [Observed(counts)]).healthy


def test_the_gravest_fault_of_any_layer_is_the_verdict() -> None:
    duplicated, broken = PLANTED["duplicates"][0], PLANTED["inconsistent_sums"][0]
    found = diagnose(state_of(healthy_book(), duplicated, broken))
    assert found.verdict == "inconsistent_sums"
    assert [numbers["verdict"] for numbers in found.evidence["layers"]] == [
        "healthy",
        "duplicates",
        "inconsistent_sums",
    ]
    assert [reason[:8] for reason in found.evidence["reasons"]] == ["layer 2:", "layer 3:"]


def test_duplicates_are_counted_as_by_brute_force() -> None:
    vectors = rows(40)
    vectors[[7, 20, 39]] = vectors[[3, 3, 12]]
    vectors[30] = vectors[12] + 1e-6
    near = squareform(pdist(vectors.numpy())) <= 1e-3 * float(vectors.norm(dim=1).median())
    assert layer(diagnose(state_of(Book("book", vectors))))["duplicates"] == 4
    assert int(np.tril(near, -1).any(axis=1).sum()) == 4


def test_a_codebook_of_one_code_is_not_called_collapsed() -> None:
    quantizer = build_quantizer("ema", 4, 1).train()
    quantizer(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    state = read_state(quantizer.state_dict())
    assert diagnose(state).healthy


def test_what_was_not_measured_is_said() -> None:
    found = diagnose(state_of(Book("book", rows())))
    assert found.healthy
    assert [reason.split(":")[0] for reason in found.evidence["not_judged"]] == ["usage", "scale of the codes"]
    assert {layer(found)[key] for key in ("perplexity_ema", "perplexity_dataset", "norm_over_centroid")} == {None}


@pytest.mark.parametrize("vectors", [torch.zeros(5, 3), torch.zeros(0, 16), torch.full((5, 16), float("nan"))])
def test_vectors_that_do_not_fit_are_refused(vectors: Tensor) -> None:
    with pytest.raises(DataError, match="vectors"):
        observe_vectors(state_of(healthy_book()), vectors)


def test_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="code 64, but its codebook only 64 codes"):
        observe_counts(state_of(healthy_book()), [torch.ones(65)])
    with pytest.raises(DataError, match="codes are of 2 layers, the checkpoint has 1"):
        observe_counts(state_of(healthy_book()), [torch.ones(64)] * 2)
