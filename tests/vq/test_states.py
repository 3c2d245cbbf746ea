from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from vector_quantize_pytorch import ResidualVQ, SimVQ, VectorQuantize

from phonoscope.codecs.checkpoints import save_codec
from phonoscope.errors import DataError
from phonoscope.files import write_safetensors
from phonoscope.vq.quantizers import build_quantizer
from phonoscope.vq.states import load_tensors, read_state
from tests.codecs.tiny import ARCHITECTURES, living, save_official, voice


@pytest.mark.parametrize("kind", [*ARCHITECTURES, "transformers-encodec", "transformers-dac"])
def test_every_official_layout_is_read_and_searched_as_its_package_does(kind: str, tmp_path: Path) -> None:
    codec = living(kind)
    state = read_state(load_tensors(save_official(kind, codec.model, tmp_path, codec.architecture())))
    assert state.layout == kind
    if kind in ARCHITECTURES:  # our own folders have the same layout
        save_codec(codec, kind, tmp_path / "ours")
        ours = read_state(load_tensors(tmp_path / "ours"))
        assert ours.layout == kind
        for book, same in zip(ours.books, state.books, strict=True):
            assert torch.equal(book.vectors, same.vectors)
            assert (book.sizes is None) == (kind == "dac")
    with torch.no_grad():
        latent = codec.latent(torch.from_numpy(voice(1.0, codec.sample_rate))[None, None])
        codes = codec.quantize(latent)[0]
    assert len(state.books) >= len(codes)
    residual, summed, vectors = latent[0].t().double(), latent[0].t(), codec.codebooks()
    for layer, truth in enumerate(codes):
        book = state.books[layer]
        torch.testing.assert_close(book.vectors.float(), vectors.raw[layer])
        assert float((book.search(residual) == truth).double().mean()) > 0.98  # ties of two codes in float32
        residual, summed = residual - book.decode(truth), summed - vectors.vectors[layer][truth]
    torch.testing.assert_close(residual.float(), summed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["ema", "ema_unscaled"])
def test_our_own_quantizers_are_read_inside_a_model(kind: Any, tmp_path: Path) -> None:
    quantizer = build_quantizer(kind, 8, 16, layers=12)
    write_safetensors(tmp_path / "model.safetensors", torch.nn.ModuleDict({"quantizer": quantizer}).state_dict(), {})
    state = read_state(load_tensors(tmp_path))
    assert state.layout == "phonoscope"
    assert state.unit_inputs
    for book, truth in zip(state.books, quantizer.codebooks(), strict=True):  # layer 10 after layer 9
        torch.testing.assert_close(book.vectors.float(), truth)
        assert book.sizes is not None
        assert book.sums is not None


def test_other_libraries_and_plain_buffers_are_read() -> None:
    rvq = read_state(ResidualVQ(dim=8, num_quantizers=2, codebook_size=16).state_dict())
    assert (rvq.layout, len(rvq.books)) == ("vector-quantize-pytorch", 2)
    assert read_state(SimVQ(8, 16).state_dict()).layout == "vector-quantize-pytorch"
    table, sizes = torch.randn(16, 8), torch.ones(16)
    for names in (
        ("vq.embedding", "vq.ema_cluster_size", "vq.ema_sum"),
        ("embedding.weight", "ema_cluster_size", "ema_w"),
        ("codebook", "cluster_size", "embed_avg"),
    ):
        (book,) = read_state(dict(zip(names, (table, sizes, table * 3), strict=True))).books
        assert book.sizes is not None
        assert book.sums is not None
        torch.testing.assert_close(book.sums, table.double() * 3)


def dac_layer() -> dict[str, torch.Tensor]:
    """A layer of 16 codes of 4 dimensions between maps from and to 8."""
    maps = {"in_proj": torch.randn(4, 8, 1), "out_proj": torch.randn(8, 4, 1)}
    biases = {f"{name}.bias": torch.randn(len(weight)) for name, weight in maps.items()}
    return {"codebook.weight": torch.randn(16, 4), **{f"{name}.weight": maps[name] for name in maps}, **biases}


def test_a_projection_without_a_bias_has_none() -> None:
    tensors = dac_layer()
    bare = {name: tensor for name, tensor in tensors.items() if not name.endswith("bias")}
    zero = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()} | bare
    z = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)).double()
    codes = [read_state(each).books[0].search(z) for each in (bare, zero)]
    assert torch.equal(codes[0], codes[1])


@pytest.mark.parametrize(
    "changes",
    [{}, {"codebook_dim": 4}, {"codebook_dim": 4, "layernorm_after_project_in": True}, {"use_cosine_sim": True}],
)
def test_a_package_quantizer_is_searched_as_it_searches_itself(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)  # the package draws from the global generator
    quantizer, z = VectorQuantize(8, 16, kmeans_init=True, **changes), torch.randn(500, 8)
    quantizer.train()(z[None])
    (book,) = read_state(quantizer.state_dict()).books
    quantized, codes, _ = quantizer.eval()(z[None])
    assert torch.equal(book.search(z.double()), codes[0])
    torch.testing.assert_close(book.decode(codes[0]).float(), quantized[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "no codebook among its 0 tensors; known layouts: EnCodec"),
        ({"encoder.weight": torch.zeros(3, 3), "token.embedding.weight": torch.zeros(9, 3)}, "no codebook"),
        ({"codebook": torch.zeros(2, 5, 3)}, r"codebook: a codebook is \[codes, dimensions\], not \(2, 5, 3\)"),
        ({"codebook": torch.zeros(0, 3)}, "a codebook is"),
        ({"a.embed": torch.zeros(5, 3), "a.cluster_size": torch.zeros(4)}, "5 codes, but 4 cluster sizes"),
        ({"a.embed": torch.zeros(5, 3), "a.cluster_size": torch.tensor(1.0)}, "5 codes, but 1 cluster sizes"),
        ({"a.embed": torch.zeros(5, 3), "a.cluster_size": -torch.ones(5)}, "a cluster size is negative"),
        ({"a.frozen_codebook": torch.zeros(5, 3), "a.code_transform.weight": torch.zeros(4, 4)}, "do not fit"),
        ({**dac_layer(), "in_proj.bias": torch.zeros(5)}, r"in_proj: no linear map .* \[4, 8, 1\], \[5\]"),
        ({**dac_layer(), "in_proj.weight": torch.zeros(4, 8, 3)}, "convolution of width 1"),
        ({**dac_layer(), "in_proj.weight": torch.zeros(4)}, "in_proj: no linear map"),
    ],
)
def test_an_unknown_layout_is_refused(tensors: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_state(tensors)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.pt: no such checkpoint"):
        load_tensors(tmp_path / "gone.pt")
    with pytest.raises(DataError, match="found none"):
        load_tensors(tmp_path)
    for name in ("a.pt", "b.safetensors"):
        (tmp_path / name).write_bytes(b"\x80nonsense")
        with pytest.raises(DataError, match=rf"{name}: not a"):
            load_tensors(tmp_path / name)
    with pytest.raises(DataError, match=r"found a\.pt, b\.safetensors; name the file"):
        load_tensors(tmp_path)
