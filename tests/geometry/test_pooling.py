from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

from phonoscope.codecs import random_codec
from phonoscope.config.geometry import FOUR
from phonoscope.data import Codebooks, Tokens
from phonoscope.data.latents import mean_latent_table
from phonoscope.errors import DataError
from phonoscope.geometry import pool, pool_codes
from phonoscope.geometry.scores import dense

from .planted import affine_codebooks, make_tokens, plain_codebooks

OFFICIAL_16_KHZ = {
    "sample_rate": 16_000, "encoder_dim": 2, "encoder_rates": [2, 4, 5, 8], "latent_dim": 1024, "decoder_dim": 16,
    "decoder_rates": [8, 5, 4, 2], "n_codebooks": 12, "codebook_size": 1024, "codebook_dim": 8,
}  # fmt: skip
SPOKEN = {f"clip-{i}": np.random.default_rng(i).integers(0, 1024, (12, 20 + 7 * i)) for i in range(5)}


@pytest.fixture(scope="module")
def dac() -> Any:
    """The official class with the quantizer of its 16 kHz model and random weights."""
    torch.manual_seed(0)
    codec = random_codec("dac", None, OFFICIAL_16_KHZ)
    for layer in codec.rvq_layers:
        torch.nn.init.normal_(layer.out_proj.bias)
    return codec


@pytest.fixture(scope="module")
def books(dac: Any) -> Codebooks:
    return Codebooks.from_arrays(dac.codebooks().vectors, dac.codebooks().raw)


def test_pooled_histograms_are_means_of_the_official_frame_level_vectors(dac: Any, books: Codebooks) -> None:
    pooled = pool(make_tokens(SPOKEN, 1024), books)
    assert pooled.dims == {"codes_mean": 8, "codes_concat": 96, "latent_sum": 1024, "projections_concat": 12_288}
    assert pooled.rank_bounds == {"codes_mean": 8, "codes_concat": 96, "latent_sum": 96, "projections_concat": 96}
    assert not pooled.same_as
    quantizer = dac.model.quantizer
    for row, codes in enumerate(SPOKEN.values()):
        with torch.no_grad():
            latent, raw, _ = quantizer.from_codes(torch.tensor(codes)[None])
            apart = [
                layer.out_proj(layer.decode_code(torch.tensor(own)[None]))
                for layer, own in zip(quantizer.quantizers, codes, strict=True)
            ]
        truth = {
            "codes_mean": raw.reshape(12, 8, -1).mean(dim=(0, 2)),
            "codes_concat": raw[0].mean(dim=1),
            "latent_sum": latent[0].mean(dim=1),
            "projections_concat": torch.cat(apart, dim=1)[0].mean(dim=1),
        }
        for name, vector in truth.items():
            np.testing.assert_allclose(pooled[name][row], vector.numpy(), atol=2e-5, err_msg=name)


@pytest.mark.parametrize("name", ["latent_sum", "projections_concat", "layer_3"])
def test_compact_vectors_keep_every_distance_and_cosine(books: Codebooks, name: str) -> None:
    tokens = make_tokens(SPOKEN, 1024)
    wide, compact = (pool(tokens, books, representations=[name], compact=flag) for flag in (False, True))
    assert compact[name].shape == (5, 9 if name == "layer_3" else 97)
    assert wide[name].shape == (5, wide.dims[name])
    assert compact.dims == wide.dims
    for metric in ("euclidean", "cosine"):
        truth = pairwise_distances(wide[name], metric=metric)
        np.testing.assert_allclose(pairwise_distances(compact[name], metric=metric), truth, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(compact[name] @ compact[name].T, wide[name] @ wide[name].T, rtol=1e-6)


def test_vectors_that_are_no_affine_image_stay_as_they_are() -> None:
    books = affine_codebooks()
    bent = Codebooks.from_arrays([rows**3 for rows in books.vectors], books.raw)
    tokens = make_tokens({"a": np.arange(12).reshape(3, 4)})
    names = ("latent_sum", "projections_concat")
    wide, compact = (pool(tokens, bent, representations=names, compact=flag) for flag in (False, True))
    for name in names:
        np.testing.assert_array_equal(compact[name], wide[name])


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), batch=st.integers(1, 12), seed=st.integers(0, 1000))
@settings(max_examples=12)
def test_pooling_is_the_mean_over_frames_however_the_table_is_cut(lengths: list[int], batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips = {f"u{i}": rng.integers(0, 16, (3, n)) for i, n in enumerate(lengths)}
    books = affine_codebooks()
    tokens = make_tokens(clips, order=rng.permutation(sum(lengths)).tolist(), batch=batch)
    names = (*FOUR, "layers", "histogram")
    asked = sorted(clips, reverse=True)
    pooled = pool(tokens, books, asked, names)
    assert pooled.utterances == asked
    assert pooled.frames.tolist() == [clips[name].shape[1] for name in asked]
    for row, name in enumerate(asked):
        means, raw = (
            np.stack([rows[i][codes].astype(float).mean(axis=0) for i, codes in enumerate(clips[name])])
            for rows in (books.vectors, books.raw)
        )
        truth = {
            "projections_concat": means.reshape(-1),
            "latent_sum": means.sum(axis=0),
            "codes_concat": raw.reshape(-1),
            "codes_mean": raw.mean(axis=0),
            **{f"layer_{i}": mean for i, mean in enumerate(means, start=1)},
            "histogram": np.concatenate([np.bincount(codes, minlength=16) / codes.size for codes in clips[name]]),
        }
        one = pool_codes(clips[name], books, names)
        assert one.keys() == pooled.dims.keys() == truth.keys()
        for representation, vector in truth.items():
            np.testing.assert_allclose(dense(pooled[representation])[row], vector, atol=1e-12)
            np.testing.assert_allclose(one[representation], vector, atol=1e-12)


def test_coinciding_representations_are_computed_once_and_named() -> None:
    tokens = make_tokens({"a": np.arange(12).reshape(3, 4), "b": np.ones((3, 5), int)})
    pooled = pool(tokens, plain_codebooks())
    aliases = {"latent_sum": "codes_mean", "projections_concat": "codes_concat"}
    assert {name: alias.of for name, alias in pooled.same_as.items()} == aliases
    assert list(pooled.vectors) == ["codes_mean", "codes_concat"]
    assert pooled.dims == {"codes_mean": 6, "codes_concat": 18, "latent_sum": 6, "projections_concat": 18}
    alone = pool(tokens, plain_codebooks(), representations=["latent_sum", "projections_concat"])
    assert not alone.same_as
    for name in alone.dims:
        np.testing.assert_allclose(pooled[name], alone[name], atol=1e-12)


def test_latents_are_taken_by_utterance(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    clips = {"a": np.zeros((3, 4), int), "b": np.ones((3, 2), int)}
    tokens, latents = make_tokens(clips), tmp_path / "latents.parquet"
    values = {"a": np.arange(8, dtype=np.float32).reshape(2, 4).T, "b": np.full((2, 2), 5, dtype=np.float32)}
    pq.write_table(mean_latent_table(values), latents)
    pooled = pool(tokens, plain_codebooks(), ["b", "a"], ["latent"], latents=latents)
    assert pooled["latent"].tolist() == [[5, 5], [1.5, 5.5]]
    assert pooled.dims == {"latent": 2}
    pq.write_table(mean_latent_table({"a": values["a"]}), latents)
    with pytest.raises(DataError, match=r"latents\.parquet: no latent of 'b'"):
        pool(tokens, plain_codebooks(), ["a", "b"], ["latent"], latents=latents)


def test_a_clip_without_a_frame_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    tokens = make_tokens({"a": np.zeros((3, 4), int)})
    pooled = pool(tokens, plain_codebooks(), ["short", "a"])
    assert pooled.utterances == ["a"]
    assert "1 clips have no frame, too short or not encoded, and are left out: ['short']" in caplog.text
    with pytest.raises(DataError, match="none of 1 clips has a frame"):
        pool(tokens, plain_codebooks(), ["short"])
    with pytest.raises(DataError, match="shorter than one frame"):
        pool_codes(np.zeros((3, 0), int), plain_codebooks())


@pytest.mark.parametrize("codes", [np.full((3, 4), 16), np.full((3, 4), -1), np.zeros((2, 4), int)])
def test_codes_that_do_not_fit_the_codebooks_are_refused(codes: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="codes"):
        pool_codes(codes, plain_codebooks())
    if codes.min() >= 0:
        with pytest.raises(DataError, match="not of"):
            pool(make_tokens({"a": codes}, 17), plain_codebooks())


@pytest.mark.parametrize("name", ["codes", "layer_4", "layer_0", "layer_x"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"no representation '{name}'; there are codes_mean, .* layer_3"):
        pool(make_tokens({"a": np.zeros((3, 4), int)}), plain_codebooks(), representations=[name])


def test_layers_may_have_codebooks_of_different_sizes() -> None:
    rng = np.random.default_rng(0)
    books = Codebooks.from_arrays([rng.normal(size=(size, 3)) for size in (4, 9)])
    codes = np.stack([rng.integers(0, size, 20) for size in (4, 9)])
    tokens = Tokens.from_arrays({"a": codes}, books.sizes)
    pooled = pool(tokens, books, representations=["latent_sum", "histogram"])
    assert pooled.dims == {"latent_sum": 3, "histogram": 13}
    truth = (books.vectors[0][codes[0]] + books.vectors[1][codes[1]]).mean(axis=0)
    np.testing.assert_allclose(pooled["latent_sum"][0], truth, rtol=1e-5)
    np.testing.assert_allclose(dense(pooled["histogram"])[0], pool_codes(codes, books, ["histogram"])["histogram"])
