from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from phonoscope.codecs.rvq import DacRvqTrainer, EmaRvqTrainer, QuantizerTrainer, kmeans
from phonoscope.ema import EPSILON
from phonoscope.stats import perplexity

from .tiny import build

CLUSTERS = 8
ALL_LAYERS = torch.full((3,), 3)  # of three clips


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clustered(n: int, dimension: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors [n, dimension] in tight clusters, and their centres [CLUSTERS, dimension]."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLUSTERS, dimension)) * 5
    points = centres[np.arange(n) % CLUSTERS] + 0.01 * rng.normal(size=(n, dimension))
    return torch.tensor(points, dtype=torch.float32), torch.tensor(centres, dtype=torch.float32)


def latents(codec: Any, seed: int, clips: int = 3, frames: int = 40) -> torch.Tensor:
    dimension = codec.codebooks().vectors[0].shape[1]
    return torch.randn(clips, dimension, frames, generator=generator(seed))


def started(kind: str, dead_usage: float = 0.0, decay: float = 0.9) -> tuple[Any, QuantizerTrainer]:
    codec = build(kind)
    trainer: QuantizerTrainer = codec.quantizer_trainer(decay, dead_usage)
    trainer.start(latents(codec, 99, frames=200).transpose(1, 2).flatten(0, 1), 0)
    return codec, trainer


def test_kmeans_finds_planted_clusters() -> None:
    points, centres = clustered(800, 6)
    centroids, labels = kmeans(points, 4 * CLUSTERS, seed=3)
    assert float(torch.cdist(centres, centroids).min(dim=1).values.max()) < 0.05
    distances = (points[:, None] - centroids[None]).double().square().sum(dim=2)
    chosen = distances[torch.arange(800), labels]
    torch.testing.assert_close(chosen, distances.min(dim=1).values, atol=1e-6, rtol=0.1)  # the last step moved them


def test_kmeans_of_fewer_vectors_than_clusters_repeats_them() -> None:
    points, _ = clustered(CLUSTERS, 6)
    centroids, labels = kmeans(points, 20, seed=0)
    assert (centroids.shape, labels.shape) == ((20, 6), (CLUSTERS,))
    assert float(torch.cdist(points, centroids).min(dim=1).values.max()) < 0.1
    assert bool(centroids.isfinite().all())


@pytest.mark.parametrize("kind", ["encodec", "speechtokenizer", "dac"])
def test_start_uses_the_codes_evenly_and_every_layer_lowers_the_error(kind: str) -> None:
    codec, _ = started(kind)
    latent = latents(codec, 5, frames=300)
    with torch.no_grad():
        codes = codec.quantize(latent)
    errors = [float(latent.square().mean())]
    residual = latent[0].t()
    for layer, rows in enumerate(codec.codebooks().vectors):
        residual = residual - rows[codes[0, layer]]
        errors.append(float(residual.square().mean()))
        assert perplexity(codes[:, layer].flatten().bincount()) > 18
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_ema_update_is_the_closed_form_of_van_den_oord() -> None:
    codec, trainer = started("encodec", decay=0.9)
    starts = [book.embed.double().numpy() for book in trainer.books]
    state = [[start.astype(np.float32), np.ones(32), start.copy()] for start in starts]
    for step in range(4):
        latent = latents(codec, step)
        trainer(latent, ALL_LAYERS, generator())
        residual = latent.transpose(1, 2).reshape(-1, 16).double().numpy()
        for layer in state:
            embed, sizes, sums = layer
            codes = ((residual[:, None] - embed[None]) ** 2).sum(axis=2).argmin(axis=1)
            for code in range(32):
                members = residual[codes == code]
                sizes[code] = 0.9 * sizes[code] + 0.1 * len(members)
                sums[code] = 0.9 * sums[code] + 0.1 * members.sum(axis=0)
            smoothed = (sizes + EPSILON) / (sizes.sum() + 32 * EPSILON) * sizes.sum()
            residual = residual - embed[codes]
            layer[0] = sums / smoothed[:, None]
    for (embed, sizes, sums), book in zip(state, trainer.books, strict=True):
        np.testing.assert_allclose(book.cluster_size.numpy(), sizes, rtol=1e-4)
        np.testing.assert_allclose(book.embed_avg.numpy(), sums, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(book.embed.numpy(), embed, rtol=1e-3, atol=1e-4)


def one_book(rows: Sequence[Sequence[float]]) -> tuple[Any, EmaRvqTrainer]:
    """A trainer of a single codebook with decay 0.5 and dead_usage 0.25."""
    codec = build("encodec", n_q=1, bins=4, dimension=2)
    trainer = EmaRvqTrainer(codec.rvq_layers, 0.5, 0.25)
    book = trainer.books[0]
    book.embed.copy_(torch.tensor(rows))
    book.embed_avg.copy_(book.embed)
    book.cluster_size.fill_(1.0)
    return book, trainer


def test_dead_codes_are_replaced_exactly_below_the_threshold_and_stay_replaced() -> None:
    book, trainer = one_book([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [100.0, 100.0]])
    vectors = torch.tensor([[0.1, 0.0], [0.9, 0.1], [0.0, 1.1], [0.0, 0.9]]).repeat(2, 1)  # 8 vectors, uniform usage 2
    latent = vectors.t()[None]
    trainer(latent, torch.ones(1), generator())  # usage 0.5 * 1: not below 0.25 * 2
    assert float(book.cluster_size[3]) == 0.5
    torch.testing.assert_close(book.embed[3], torch.tensor([100.0, 100.0]), rtol=1e-3, atol=0)
    trainer(latent, torch.ones(1), generator())  # usage 0.25: dead
    assert float(book.cluster_size[3]) == 2.0
    replaced = book.embed[3].clone()
    assert float((vectors - replaced).norm(dim=1).min()) < 1e-3
    result = trainer(latent, torch.ones(1), generator())
    assert 3 in result.codes.unique()  # the replacement is used, not undone
    assert float((book.embed[3] - replaced).norm()) < 0.5
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    book, trainer = one_book(corners.tolist())  # while all codes are used, none is replaced
    for _ in range(20):
        trainer(corners.repeat(2, 1).t()[None], torch.ones(1), generator())
    torch.testing.assert_close(book.embed, corners, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["encodec", "speechtokenizer"])
def test_commitment_of_every_layer_reaches_the_encoder(kind: str) -> None:
    """encodec's own pass gives a gradient from the first layer only (facebookresearch/encodec issue 25)."""
    for kept in (1, 2, 3):
        codec, trainer = started(kind)
        books = codec.codebooks().vectors
        latent = latents(codec, 1).requires_grad_()
        result = trainer(latent, torch.full((3,), kept), generator())
        result.commitment.backward()
        expected, residual = torch.zeros(3, 40, 16), latent.detach().transpose(1, 2)
        for layer in range(kept):
            residual = residual - books[layer][result.codes[:, layer]]
            expected += 2 * residual / (residual.numel() * 3)
        torch.testing.assert_close(latent.grad.transpose(1, 2), expected, rtol=1e-4, atol=1e-7)


def test_commitment_and_codebook_losses_of_dac_reach_encoder_and_codes_of_every_layer() -> None:
    codec, trainer = started("dac")
    latent = latents(codec, 1).requires_grad_()
    result = trainer(latent, ALL_LAYERS, generator())
    (result.commitment + result.codebook).backward()
    assert float(latent.grad.abs().min(dim=2).values.max()) > 0
    for layer in codec.rvq_layers:
        used = layer.codebook.weight.grad.abs().sum(dim=1) > 0
        assert int(used.sum()) > 10


@pytest.mark.parametrize("kind", ["encodec", "dac"])
def test_codes_are_those_of_the_official_pass_and_a_clip_is_decoded_from_the_layers_it_keeps(kind: str) -> None:
    codec, trainer = started(kind)
    books = codec.codebooks().vectors
    latent = latents(codec, 2)
    with torch.no_grad():
        official = codec.quantize(latent)
    result = trainer(latent, torch.tensor([1, 2, 3]), generator())
    assert torch.equal(result.codes, official)
    for clip in range(3):
        kept = sum(books[layer][official[clip, layer]] for layer in range(clip + 1))
        torch.testing.assert_close(result.quantized[clip].t(), kept, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(result.first[clip].t(), books[0][official[clip, 0]], atol=1e-4, rtol=1e-4)


def test_gradient_of_the_reconstruction_passes_straight_through() -> None:
    codec, trainer = started("encodec")
    latent = latents(codec, 4).requires_grad_()
    weight = torch.randn(latent.shape, generator=generator(9))
    (trainer(latent, ALL_LAYERS, generator()).quantized * weight).sum().backward()
    torch.testing.assert_close(latent.grad, weight)


def test_dac_start_has_orthonormal_projections_and_recovers_low_rank_latents() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0][:, :8]
    codes, _ = clustered(600, 8, seed=1)
    planted = codes @ torch.tensor(basis.T, dtype=torch.float32) + 3.0
    codec, errors = build("dac", n_codebooks=2), []
    for _ in range(2):
        with torch.no_grad():
            found = codec.model.quantizer(planted.t()[None])[0][0].t()
        errors.append(float((found - planted).square().mean() / (planted - planted.mean(dim=0)).square().mean()))
        DacRvqTrainer(codec.rvq_layers, 0.99, 0.1).start(planted, 0)
    assert errors[1] < 0.02 < 0.5 < errors[0]
    for layer in codec.rvq_layers:
        with torch.no_grad():
            layer(planted.t()[None])  # weight norm makes the weights anew in the forward pass
            inward, outward = layer.in_proj.weight[..., 0], layer.out_proj.weight[..., 0]
        torch.testing.assert_close(inward @ inward.t(), torch.eye(8), atol=1e-4, rtol=0)
        torch.testing.assert_close(outward, inward.t(), atol=1e-5, rtol=0)


def test_dac_replaces_dead_codes_by_projected_latents() -> None:
    codec, trainer = started("dac", dead_usage=0.3, decay=0.5)
    layer = codec.rvq_layers[0]
    with torch.no_grad():
        layer.codebook.weight[7] = 1e-3 * torch.eye(8)[0]
    trainer.usage.fill_(1.0)
    trainer.usage[0, 7] = 0.1
    latent = torch.zeros(3, 16, 40)  # all vectors fall to one code
    trainer(latent, ALL_LAYERS, generator())
    with torch.no_grad():
        projected = layer.in_proj(latent)[0, :, 0]
    torch.testing.assert_close(layer.codebook.weight[7].detach(), projected)
    assert float(trainer.state()["usage"][0, 7]) == 1.0
