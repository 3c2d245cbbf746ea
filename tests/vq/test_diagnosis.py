from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ, VectorQuantize

from phonoscope.errors import DataError
from phonoscope.vq.diagnosis import VERDICTS, Diagnosis, diagnose, diagnose_state
from phonoscope.vq.observe import Observed, observe_counts, observe_vectors
from phonoscope.vq.quantizers import build_quantizer
from phonoscope.vq.states import Book, Projection, QuantizerState, read_state
from phonoscope.vq.usage import CodeUsage, active_codes

from .clusters import Clusters


def trained(kind: Any, layers: int = 1, **changes: Any) -> tuple[Any, QuantizerState, Clusters]:
    """A quantizer after some steps, its state as read from its tensors, and its data."""
    data = Clusters(count=40, dim=16)
    quantizer = build_quantizer(kind, 16, 64, layers=layers, **changes)
    quantizer.start(data.draw(400))
    for _ in range(60):
        quantizer.train()(data.draw(300))
    return quantizer.eval(), read_state(quantizer.state_dict()), data


def state_of(*books: Book) -> QuantizerState:
    return QuantizerState("ema", list(books))


def rows(codes: int = 64, dim: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(codes, dim, generator=torch.Generator().manual_seed(seed)).double()


def healthy_book(**changes: Any) -> Book:
    sizes = torch.full((64,), 5.0).double()
    values = {"vectors": rows(), "sizes": sizes, "sums": rows() * sizes[:, None], **changes}
    return Book("book", **values)


def layer(diagnosis: Diagnosis) -> dict[str, Any]:
    return diagnosis.layers[0]


@pytest.mark.parametrize("changes", [{}, {"unit_codes": True}, {"layers": 3}], ids=["plain", "unit", "stacked"])
def test_a_rightly_trained_quantizer_is_healthy(changes: dict[str, Any]) -> None:
    _, state, data = trained("ema", **changes)
    for result in (diagnose_state(state), diagnose_state(state, observe_vectors(state, data.draw(2000)))):
        assert result.verdict == "healthy", result.faults
        assert result.healthy
        assert result.faults == result.not_judged == []
        ratio = layer(result)["norm_over_centroid"]
        assert ratio == (None if "unit_codes" in changes else pytest.approx(1, abs=0.01))


def test_the_unscaled_update_is_named_from_the_state_alone_or_by_the_inputs_without_its_sums() -> None:
    quantizer, state, data = trained("ema_unscaled")
    result, z = diagnose_state(state), data.draw(2000)
    assert result.verdict == "unscaled_ema"
    numbers = layer(result)
    assert numbers["norm_over_centroid"] == pytest.approx(numbers["ema_count"], rel=0.01)
    assert "n is" in result.faults[0].reason
    seen = layer(diagnose_state(state, observe_vectors(state, z)))
    assert seen["perplexity_dataset"] < 6
    assert seen["input_norm_median"] == pytest.approx(1)

    tensors = {name: tensor for name, tensor in quantizer.state_dict().items() if not name.endswith("embed_avg")}
    state = read_state(tensors)
    result = diagnose_state(state, observe_vectors(state, z))
    assert result.verdict == "unscaled_ema"
    assert "those of the inputs" in result.faults[0].reason
    assert "scale of the codes" in diagnose_state(state).not_judged[0]


def test_a_dataset_is_measured_as_the_quantizer_itself_does() -> None:
    quantizer, state, data = trained("ema", layers=3)
    z, usage = data.draw(3000) * 7, CodeUsage(3, 64)  # the quantizer normalises its inputs
    usage.add(quantizer(z).codes)
    for observed in (observe_vectors(state, z), observe_counts(state, list(usage.counts))):
        result = diagnose_state(state, observed).layers
        assert [numbers["perplexity_dataset"] for numbers in result] == pytest.approx(
            usage.perplexity_dataset().tolist(), rel=1e-3
        )
        assert [numbers["active_dataset"] for numbers in result] == active_codes(usage.counts).tolist()
        assert [numbers["vectors"] for numbers in result] == [3000] * 3
        assert [numbers["perplexity_ema"] for numbers in result] == pytest.approx(quantizer.perplexity_ema().tolist())


def test_codes_learned_by_gradient_are_not_held_against_buffers_that_nothing_updates() -> None:
    data = Clusters(count=40, dim=16)
    torch.manual_seed(0)  # the package draws from the global generator
    quantizer = VectorQuantize(16, 64, learnable_codebook=True, ema_update=False).train()
    optimiser = torch.optim.Adam(quantizer.parameters(), 1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        quantizer(data.draw(300)[None])[2].sum().backward()
        optimiser.step()
    state = read_state(quantizer.state_dict())
    moved = state.books[0].vectors.norm(dim=1) / state.books[0].sums.norm(dim=1)
    assert float(moved.median()) > 1.5
    result = diagnose_state(state)
    assert result.verdict == "healthy", result.faults
    assert layer(result)["perplexity_ema"] is None
    assert [reason.split(";")[0] for reason in result.not_judged] == [
        "usage: the checkpoint's cluster sizes were never updated",
        "scale of the codes: the checkpoint's EMA sums were never updated",
    ]
    result = diagnose_state(state, observe_vectors(state, data.draw(2000)))
    assert layer(result)["norm_over_input"] == pytest.approx(float(state.books[0].vectors.norm(dim=1).median()))
    assert result.not_judged == []


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_fresh_codebook_is_not_faulty(start: float) -> None:
    sizes = torch.full((64,), start).double()
    assert diagnose_state(state_of(healthy_book(sizes=sizes, sums=rows()))).healthy
    one_updated = sizes.index_fill(0, torch.tensor(5), 1.05)  # the sums count from the first update on
    assert diagnose_state(state_of(healthy_book(sizes=one_updated, sums=rows() * 9))).verdict == "inconsistent_sums"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unit_codes_are_known_by_those_in_use_in_any_precision(dtype: torch.dtype) -> None:
    data = Clusters(count=60, dim=16, spread=0.5)
    torch.manual_seed(0)
    quantizer = VectorQuantize(16, 64, use_cosine_sim=True, kmeans_init=True).train()
    for _ in range(30):
        quantizer(data.draw(500)[None])
    for name in ("embed", "embed_avg", "cluster_size"):
        getattr(quantizer._codebook, name)[0, [3, 9]] = 0
    tensors = {name: value.to(dtype) if value.ndim else value for name, value in quantizer.state_dict().items()}
    state, z = read_state(tensors), data.draw(3000)
    usage = CodeUsage(1, 64)
    usage.add(quantizer.eval()(z[None])[1][0, :, None])
    result = diagnose_state(state, observe_vectors(state, z))
    assert result.verdict == "healthy", result.faults
    assert layer(result)["unit_codes"]
    assert layer(result)["perplexity_dataset"] == pytest.approx(float(usage.perplexity_dataset()), rel=0.01)


def test_data_of_another_scale_are_named_though_the_sums_are_right() -> None:
    _, state, data = trained("ema", layers=3, unit_inputs=False)
    assert diagnose_state(state, observe_vectors(state, data.draw(2000))).healthy
    for factor in (100, 0.01):
        result = diagnose_state(state, observe_vectors(state, data.draw(2000) * factor))
        assert result.verdict == "codes_off_scale"
        assert layer(result)["norm_over_input"] == pytest.approx(1 / factor, rel=0.2)
        assert layer(result)["norm_over_centroid"] == pytest.approx(1, abs=0.01)


def counted(counts: list[int] | Tensor) -> Diagnosis:
    """The diagnosis of a codebook of random rows whose codes occur so often."""
    return diagnose_state(state_of(Book("book", rows(len(counts)))), [Observed(torch.as_tensor(counts))])


@pytest.mark.parametrize("used", [12, 20])
def test_a_plain_collapse_shows_where_only_data_tell(used: int) -> None:
    result = counted([15_000 // used] * used + [0] * (1024 - used))
    assert (result.verdict, layer(result)["dead_dataset"]) == ("dead_codes", 1024 - used)
    few = counted([4000 // used] * used + [0] * (1024 - used))
    assert few.not_judged[0] == "dead codes: the data have fewer than 5 vectors per code"


def test_codes_that_the_data_only_missed_are_not_counted_as_dead() -> None:
    shares = torch.linspace(1, 100, 1024).pow(-1.0).index_fill(0, torch.arange(800, 1024), 0)
    drawn = torch.multinomial(shares, 2000, replacement=True, generator=torch.Generator().manual_seed(0))
    numbers = layer(counted(torch.bincount(drawn, minlength=1024)))
    assert numbers["unused_dataset"] > 350
    assert 224 <= numbers["dead_dataset"] < 300
    assert diagnose_state(state_of(healthy_book()), [Observed(torch.tensor([40, 3] + [0] * 62))]).healthy  # too few


def test_a_shared_projection_is_passed_once() -> None:
    torch.manual_seed(0)
    quantizer = ResidualVQ(dim=16, codebook_dim=4, num_quantizers=3, codebook_size=32, kmeans_init=True).train()
    z = rows(800).float()
    quantizer(z[None])
    codes = quantizer.eval()(z[None])[1][0]
    state = read_state(quantizer.state_dict())
    for index, seen in enumerate(observe_vectors(state, z)):
        assert torch.equal(seen.counts, torch.bincount(codes[:, index], minlength=32))


NOT_FINITE = healthy_book(vectors=rows().index_fill(0, torch.tensor([3]), float("nan")))
PLANTED: dict[str, tuple[Book, list[Observed]]] = {
    "not_finite": (NOT_FINITE, []),
    "inconsistent_sums": (healthy_book(sums=rows() * 15), []),
    "codes_off_scale": (healthy_book(sums=None), [Observed(torch.full((64,), 9), 400.0)]),
    "collapsed": (healthy_book(), [Observed(torch.tensor([990, 10] + [0] * 62))]),
    "duplicates": (healthy_book(vectors=rows()[:32].repeat(2, 1), sums=None), []),
    "dead_codes": (healthy_book(), [Observed(torch.tensor([100] * 30 + [0] * 34))]),
}


@pytest.mark.parametrize("verdict", list(PLANTED))
def test_planted_faults_are_named(verdict: str) -> None:
    book, observed = PLANTED[verdict]
    result = diagnose_state(state_of(book), observed)
    assert result.verdict == verdict
    assert result.to_dict()["evidence"]["meaning"] == VERDICTS[verdict]
    assert result.faults[0].layer == 1
    json.dumps(result.to_dict(), allow_nan=False)


def test_collapse_and_death_show_in_the_ema_where_there_are_no_data() -> None:
    one = F.one_hot(torch.tensor(5), 64).double() * 300
    assert diagnose_state(state_of(healthy_book(sizes=one, sums=rows() * one[:, None]))).verdict == "collapsed"
    few = torch.cat([torch.full((20,), 15.0), torch.full((44,), 1e-4)]).double()
    result = diagnose_state(state_of(healthy_book(sizes=few, sums=rows() * few[:, None])))
    assert (result.verdict, layer(result)["dead_ema"]) == ("dead_codes", 44)


def test_the_gravest_fault_of_any_layer_is_the_verdict() -> None:
    duplicated, broken = PLANTED["duplicates"][0], PLANTED["inconsistent_sums"][0]
    result = diagnose_state(state_of(healthy_book(), duplicated, broken))
    assert result.verdict == "inconsistent_sums"
    assert [numbers["verdict"] for numbers in result.layers] == ["healthy", "duplicates", "inconsistent_sums"]
    assert [fault.layer for fault in result.faults] == [2, 3]


def test_duplicates_are_counted() -> None:
    vectors = rows(40)
    vectors[[7, 20, 39]] = vectors[[3, 3, 12]]
    vectors[30] = vectors[12] + 1e-6
    assert layer(diagnose_state(state_of(Book("book", vectors))))["duplicates"] == 4


def test_what_was_not_measured_is_said_and_one_code_is_not_called_collapsed() -> None:
    result = diagnose_state(state_of(Book("book", rows())))
    assert result.healthy
    assert [reason.split(":")[0] for reason in result.not_judged] == ["usage", "scale of the codes"]
    assert {layer(result)[key] for key in ("perplexity_ema", "perplexity_dataset", "norm_over_centroid")} == {None}
    quantizer = build_quantizer("ema", 4, 1).train()
    quantizer(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    assert diagnose_state(read_state(quantizer.state_dict())).healthy


def test_vectors_and_counts_that_do_not_fit_are_refused_and_codes_that_are_not_finite_stop_the_measuring() -> None:
    state = state_of(NOT_FINITE, healthy_book())
    assert diagnose_state(state, observe_vectors(state, rows(200).float())).verdict == "not_finite"
    state = state_of(healthy_book())
    for vectors in (torch.zeros(5, 3), torch.zeros(0, 16), torch.full((5, 16), float("nan"))):
        with pytest.raises(DataError, match="vectors"):
            observe_vectors(state, vectors)
    with pytest.raises(DataError, match="code 64, but its codebook only 64 codes"):
        observe_counts(state, [torch.ones(65)])
    with pytest.raises(DataError, match="codes have 2 layers, the checkpoint has 1"):
        observe_counts(state, [torch.ones(64)] * 2)


def test_layers_that_do_not_fit_each_other_take_no_vectors() -> None:
    wide = Projection(torch.zeros(16, 8).double(), torch.zeros(16).double())
    narrow = Book("b.embed", rows(64, 8))
    for books, said in (
        ([Book("a.embed", rows()), narrow], "a.embed to b.embed do not fit each other"),
        ([Book("a.embed", rows(64, 8)), narrow], "do not fit each other"),
        ([Book("l.1.embed", rows()), Book("l.2.embed", rows(64, 8))], "do not fit each other"),
        ([Book("book", rows(64, 4), project_in=wide)], "codes of 4 dimensions between projections to 16 and from 4"),
        ([Book("book", rows(), project_in=wide)], "do not fit each other"),
    ):
        state = state_of(*books)
        assert diagnose_state(state).healthy
        with pytest.raises(DataError, match=said):
            observe_vectors(state, torch.randn(50, 8))


def test_one_call_takes_arrays_a_state_dict_or_a_checkpoint(tmp_path: Path) -> None:
    quantizer, state, data = trained("ema", layers=2)
    z = data.draw(2000)
    whole = diagnose_state(state, observe_vectors(state, z))
    torch.save(quantizer.state_dict(), tmp_path / "model.pt")
    np.save(tmp_path / "z.npy", z.numpy())
    for result in (
        diagnose(quantizer.state_dict(), vectors=z),
        diagnose(tmp_path / "model.pt", vectors=tmp_path / "z.npy"),
        diagnose(str(tmp_path / "model.pt"), vectors=z.numpy()),
    ):
        assert result.to_dict() == whole.to_dict()
    codes = quantizer(z).codes
    books = [book.numpy() for book in quantizer.codebooks()]
    given = diagnose(books, cluster_sizes=quantizer.cluster_sizes(), codes=codes)
    assert given.healthy, given.faults
    for column in ("perplexity_ema", "perplexity_dataset", "code_norm_median"):
        assert given.table()[column].tolist() == pytest.approx(whole.table()[column].tolist(), rel=1e-3)
    one = diagnose(books[0], codes=np.zeros(500, dtype=np.int64))
    assert (one.verdict, one.faults[0].layer) == ("collapsed", 1)


def test_arrays_that_do_not_fit_are_refused() -> None:
    book = np.zeros((8, 2))
    for given, said in (
        ({"cluster_sizes": np.ones(7)}, "8 codes, but 7 cluster sizes"),
        ({"sums": np.ones((8, 3))}, "EMA sums are"),
        ({"codes": np.zeros(5)}, "codes are non-negative integers"),
        ({"codes": np.array([8])}, "code 8, but its codebook only 8 codes"),
        ({"codes": np.array([1]), "vectors": book}, "either vectors or codes"),
        ({"vectors": np.zeros((4, 3))}, "takes vectors"),
    ):
        with pytest.raises(DataError, match=said):
            diagnose(book, **given)
