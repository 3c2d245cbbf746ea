from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from phonoscope.geometry.codebooks import Codebooks
from phonoscope.tokens.encode import latent_table
from sklearn.metrics import pairwise_distances

from phonoscope.codecs import random_codec
from phonoscope.errors import DataError
from phonoscope.geometry import pool, pool_codes, pooling
from phonoscope.geometry.scores import dense

from .planted import affine_codebooks, plain_codebooks, write_tokens

FOUR = ("codes_mean", "codes_concat", "latent_sum", "projections_concat")
OFFICIAL_16_KHZ = {
    "sample_rate": 16_000, "encoder_dim": 2, "encoder_rates": [2, 4, 5, 8], "latent_dim": 1024, "decoder_dim": 16,
    "decoder_rates": [8, 5, 4, 2], "n_codebooks": 12, "codebook_size": 1024, "codebook_dim": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def dac() -> Any:
    """The official class with the quantizer of its 16 kHz model and random weights."""
    torch.manual_seed(0)
    codec = random_codec("dac", None, OFFICIAL_16_KHZ)
    for layer in codec.rvq_layers():
        torch.nn.init.normal_(layer.out_proj.bias)
    return codec


def as_stored(codec: Any) -> Codebooks:
    books = codec.codebooks()
    tensors = {f"layer_{i}": rows for i, rows in enumerate(books.vectors, start=1)}
    return Codebooks.from_tensors(tensors | {f"raw_{i}": rows for i, rows in enumerate(books.raw, start=1)})


@pytest.fixture(scope="module")
def spoken() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    return {f"clip-{i}": rng.integers(0, 1024, (12, 20 + 7 * i)) for i in range(5)}


def test_pooled_histograms_are_means_of_the_official_frame_level_vectors(
    dac: Any, spoken: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    pooled = pool(write_tokens(tmp_path / "tokens.parquet", spoken), as_stored(dac))
    assert pooled.dims == {"codes_mean": 8, "codes_concat": 96, "latent_sum": 1024, "projections_concat": 12_288}
    assert pooled.rank_bounds == {"codes_mean": 8, "codes_concat": 96, "latent_sum": 96, "projections_concat": 96}
    assert not pooled.same_as
    quantizer = dac.model.quantizer
    for row, codes in enumerate(spoken.values()):
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
def test_compact_vectors_keep_every_distance_and_cosine(
    dac: Any, spoken: dict[str, NDArray[Any]], tmp_path: Path, name: str
) -> None:
    tokens, books = write_tokens(tmp_path / "tokens.parquet", spoken), as_stored(dac)
    wide, compact = (pool(tokens, books, representations=[name], compact=flag) for flag in (False, True))
    assert compact[name].shape == (5, 9 if name == "layer_3" else 97)
    assert wide[name].shape == (5, wide.dims[name])
    assert compact.dims == wide.dims
    for metric in ("euclidean", "cosine"):
        truth = pairwise_distances(wide[name], metric=metric)
        np.testing.assert_allclose(pairwise_distances(compact[name], metric=metric), truth, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(compact[name] @ compact[name].T, wide[name] @ wide[name].T, rtol=1e-6)


def test_vectors_that_are_no_affine_image_stay_as_they_are(tmp_path: Path) -> None:
    books = affine_codebooks()
    bent = Codebooks(books.raw, tuple(rows**3 for rows in books.vectors))
    tokens = write_tokens(tmp_path / "tokens.parquet", {"a": np.arange(12).reshape(3, 4)})
    names = ("latent_sum", "projections_concat")
    wide, compact = (pool(tokens, bent, representations=names, compact=flag) for flag in (False, True))
    for name in names:
        np.testing.assert_array_equal(compact[name], wide[name])


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    batch=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
@settings(max_examples=12)
def test_pooling_is_the_mean_over_frames_however_the_table_is_cut(lengths: list[int], batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips = {f"u{i}": rng.integers(0, 16, (3, n)) for i, n in enumerate(lengths)}
    books = affine_codebooks()
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(pooling, "BATCH_FRAMES", batch)
        tokens = write_tokens(Path(folder) / "tokens.parquet", clips, order=rng.permutation(sum(lengths)).tolist())
        names = (*FOUR, "layers", "histogram")
        asked = sorted(clips, reverse=True)
        pooled = pool(tokens, books, asked, names)
        compact = pool(tokens, books, asked, names, compact=True)
    assert pooled.utterances == asked
    assert pooled.frames.tolist() == [clips[name].shape[1] for name in asked]
    for row, name in enumerate(asked):
        frames = [[books.vectors[i][code] for code in codes] for i, codes in enumerate(clips[name])]
        means = np.mean(frames, axis=1)
        raw = np.mean([[books.raw[i][code] for code in codes] for i, codes in enumerate(clips[name])], axis=1)
        np.testing.assert_allclose(pooled["projections_concat"][row], means.reshape(-1), atol=1e-12)
        np.testing.assert_allclose(pooled["latent_sum"][row], means.sum(axis=0), atol=1e-12)
        np.testing.assert_allclose(pooled["codes_concat"][row], raw.reshape(-1), atol=1e-12)
        np.testing.assert_allclose(pooled["codes_mean"][row], raw.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(pooled["layer_2"][row], means[1], atol=1e-12)
        shares = [np.bincount(codes, minlength=16) / codes.size for codes in clips[name]]
        np.testing.assert_allclose(pooled["histogram"].toarray()[row], np.concatenate(shares), atol=1e-12)
        one = pool_codes(clips[name], books, names)
        assert one.keys() == pooled.dims.keys()
        for representation, vector in one.items():
            np.testing.assert_allclose(vector, dense(pooled[representation])[row], atol=1e-12)
    wide = pooled["projections_concat"]
    narrow = compact["projections_concat"]
    assert narrow.shape[1] == 3 * 2 + 1
    np.testing.assert_allclose(narrow @ narrow.T, wide @ wide.T, rtol=1e-5, atol=1e-5)


def test_coinciding_representations_are_computed_once_and_named(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens.parquet", {"a": np.arange(12).reshape(3, 4), "b": np.ones((3, 5), int)})
    pooled = pool(tokens, plain_codebooks())
    assert {name: alias.of for name, alias in pooled.same_as.items()} == {
        "latent_sum": "codes_mean",
        "projections_concat": "codes_concat",
    }
    assert list(pooled.vectors) == ["codes_mean", "codes_concat"]
    assert pooled.dims == {"codes_mean": 6, "codes_concat": 18, "latent_sum": 6, "projections_concat": 18}
    alone = pool(tokens, plain_codebooks(), representations=["latent_sum", "projections_concat"])
    assert not alone.same_as
    for name in alone.dims:
        np.testing.assert_allclose(pooled[name], alone[name], atol=1e-12)


def test_latents_are_taken_by_utterance(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    clips = {"a": np.zeros((3, 4), int), "b": np.ones((3, 2), int)}
    tokens, latents = write_tokens(tmp_path / "tokens.parquet", clips), tmp_path / "latents.parquet"
    values = {"a": np.arange(8, dtype=np.float32).reshape(2, 4), "b": np.full((2, 2), 5, dtype=np.float32)}
    pq.write_table(pa.concat_tables([latent_table(values)]), latents)
    pooled = pool(tokens, plain_codebooks(), ["b", "a"], ["latent"], latents=latents)
    assert pooled["latent"].tolist() == [[5, 5], [1.5, 5.5]]
    assert pooled.dims == {"latent": 2}
    pq.write_table(latent_table({"a": values["a"]}), latents)
    with pytest.raises(DataError, match=r"latents\.parquet: no latent of 'b'"):
        pool(tokens, plain_codebooks(), ["a", "b"], ["latent"], latents=latents)
    with pytest.raises(DataError, match="no table of latents; run `dvc repro encode`"):
        pool(tokens, plain_codebooks(), representations=["latent"], latents=tmp_path / "none.parquet")


def test_a_clip_without_a_frame_is_left_out_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = write_tokens(tmp_path / "tokens.parquet", {"a": np.zeros((3, 4), int)})
    with caplog.at_level(logging.WARNING):
        pooled = pool(tokens, plain_codebooks(), ["short", "a"])
    assert pooled.utterances == ["a"]
    assert "1 clips have no frame, too short or not encoded, and are left out: ['short']" in caplog.text
    with pytest.raises(DataError, match="none of 1 clips has a frame"):
        pool(tokens, plain_codebooks(), ["short"])
    with pytest.raises(DataError, match="shorter than one frame"):
        pool_codes(np.zeros((3, 0), int), plain_codebooks())


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        (np.full((3, 4), 16), "codes from 16 to 16 for codebooks of 16 rows"),
        (np.full((3, 4), -1), "codes from -1 to -1"),
        (np.zeros((2, 4), int), "2 code columns for codebooks of 3 layers"),
    ],
)
def test_a_table_that_does_not_fit_the_codebooks_is_refused(tmp_path: Path, codes: NDArray[Any], reason: str) -> None:
    tokens = write_tokens(tmp_path / "tokens.parquet", {"a": codes})
    with pytest.raises(DataError, match=reason):
        pool(tokens, plain_codebooks())
    with pytest.raises(DataError, match="codes"):
        pool_codes(codes, plain_codebooks())


def test_a_missing_table_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tokens\.parquet: no such token table; run `dvc repro encode`"):
        pool(tmp_path / "tokens.parquet", plain_codebooks())
    tokens = write_tokens(tmp_path / "tokens.parquet", {"a": np.zeros((3, 4), int)})
    for name in ("codes", "layer_4", "layer_0", "layer_x"):
        with pytest.raises(DataError, match=f"no representation '{name}'; there are codes_mean, .* layer_3"):
            pool(tokens, plain_codebooks(), representations=[name])


def tensors(layers: int = 3) -> dict[str, NDArray[Any]]:
    names = [f"{kind}_{layer}" for kind in ("raw", "layer") for layer in range(1, layers + 1)]
    return {name: np.ones((4, 2), dtype=np.float32) for name in names}


@pytest.mark.parametrize("missing", ["layer_2", "raw_1", "layer_3"])
def test_codebooks_with_a_missing_layer_are_refused(missing: str) -> None:
    books = tensors()
    del books[missing]
    with pytest.raises(DataError, match=f"{missing} of 3 layers is missing"):
        Codebooks.from_tensors(books)


def test_codebooks_of_other_shapes_or_values_are_refused() -> None:
    with pytest.raises(DataError, match=r"no tensors raw_1, layer_1"):
        Codebooks.from_tensors({})
    with pytest.raises(DataError, match=r"layer_2 has shape \(5, 2\)"):
        Codebooks.from_tensors(tensors() | {"layer_2": np.ones((5, 2))})
    with pytest.raises(DataError, match="raw_3 holds values that are not finite"):
        Codebooks.from_tensors(tensors() | {"raw_3": np.full((4, 2), np.nan)})


def test_pool_works_on_a_table_read_and_written_by_pandas(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens.parquet", {"a": np.zeros((3, 4), int), "b": np.ones((3, 2), int)})
    table = pd.read_parquet(tokens).astype({"utterance": "category"})
    table.to_parquet(tmp_path / "again.parquet")
    np.testing.assert_array_equal(
        pool(tokens, plain_codebooks())["codes_mean"], pool(tmp_path / "again.parquet", plain_codebooks())["codes_mean"]
    )
