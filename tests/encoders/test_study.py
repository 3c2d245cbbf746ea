import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from phonoscope.config.encoders import EncoderConfig
from phonoscope.encoders import AudioEncoder
from phonoscope.encoders.measures import behaviour, gradient_share, macs, peak_kept, sizes
from phonoscope.encoders.study import accuracy, build, compare, reduce_dims

CONFIG = EncoderConfig(embed_dim=8)


def test_each_arm_changes_the_one_thing_it_names() -> None:
    books = [torch.randn(1024, 8) for _ in range(4)]
    plain, *arms = (
        build("codes", 2 if arm == "half_codebooks" else 4, CONFIG, arm, books)
        for arm in (None, "scrambled", "per_codebook", "pretrained", "summed", "half_codebooks", "half_embedding")
    )
    embeddings = [encoder.embedding for encoder in (plain, *arms)]
    tables = [embedding.table.weight for embedding in embeddings]
    assert [table.shape[0] for table in tables] == [1024, 1024, 4096, 4096, 4096, 1024, 1024]
    assert [table.shape[1] for table in tables] == [8, 8, 8, 8, 8, 8, 4]
    assert [embedding.scramble for embedding in embeddings] == [False, True, *[False] * 5]
    assert [embedding.summed for embedding in embeddings] == [*[False] * 4, True, False, False]
    assert torch.equal(tables[3][1024:2048], books[1])
    assert torch.equal(tables[4], tables[3])
    configured = build("codes", 4, CONFIG.model_copy(update={"start": "codec", "combine": "sum"}), codebooks=books)
    codes = torch.tensor([[[7], [8], [9], [10]]])
    latent = torch.stack([rows[7 + layer] for layer, rows in enumerate(books)]).sum(0)
    torch.testing.assert_close(configured.embedding(codes)[0, :, 0], latent)
    assert configured.branches[0].convolution.in_channels == 8


def test_codebooks_of_too_many_dims_keep_what_varies_most() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(2, 64, 2)) @ rng.normal(size=(2, 16))
    books = [torch.from_numpy(rows.astype(np.float32)) for rows in plane]
    reduced = reduce_dims(books, 2)
    assert [tuple(rows.shape) for rows in reduced] == [(64, 2), (64, 2)]
    for before, after in zip(books, reduced, strict=True):
        distances = [torch.pdist(rows) for rows in (after, before)]
        torch.testing.assert_close(*distances, atol=1e-4, rtol=1e-4)
    assert reduce_dims(books, 16)[0] is books[0]


def hits(right: dict[str, NDArray[np.int64]], windows: int = 4) -> pd.DataFrame:
    """Rows of `hits_table` from right answers by encoder, [seeds, utterances], of so many windows an utterance."""
    rows = [
        (encoder, seed, "word", f"u{unit}", windows, int(value))
        for encoder, table in right.items()
        for (seed, unit), value in np.ndenumerate(table)
    ]
    return pd.DataFrame(rows, columns=["encoder", "seed", "task", "utterance", "windows", "right"])


def test_an_arm_is_compared_on_the_same_seeds_and_utterances() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (3, 20))
    row = compare(hits({"codes": codes, "arm": codes + 1}), "arm", "word")
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.25, 0.25, 0.25))
    assert (row["value"], row["reference"]) == pytest.approx((codes.mean() / 4 + 0.25, codes.mean() / 4))
    assert (row["n"], row["runs"]) == (20, 3)


def test_the_interval_holds_for_other_trainings_and_other_utterances() -> None:
    """Both vary: an interval over either alone covers the truth far too rarely."""
    rng, covered, trials = np.random.default_rng(0), 0, 300
    for _ in range(trials):
        skill, ease = rng.normal(0, 0.4, (3, 1)), rng.normal(0.3, 0.8, (1, 40))
        truth = norm.cdf(0.3 / np.sqrt(1 + 0.4**2 + 0.8**2))
        right = rng.binomial(4, norm.cdf(skill + ease))
        interval = accuracy(hits({"codes": right}), "codes", "word")
        covered += interval.low <= truth <= interval.high
    assert 0.92 <= covered / trials <= 0.99


def test_sizes_are_the_documents_and_multiply_adds_those_of_the_layers() -> None:
    table = sizes().set_index("encoder").loc[["codes", "mel"], ["parameters", "input_bytes"]]
    assert table.to_numpy().tolist() == [[1_214_592, 7_168], [2_082_368, 532_480]]
    by_hand = 112 * 512 * 128 * (3 + 5 + 7) + 384 * 256 + 256 * 256
    assert macs(AudioEncoder("codes"), 112) == by_hand


def test_max_pooling_keeps_a_peak_and_the_mean_does_not() -> None:
    torch.manual_seed(0)
    kept, averaged = peak_kept(AudioEncoder("codes"), torch.randint(0, 1024, (1, 8, 112)))
    assert kept > 0.9
    assert 0 < averaged < 0.1


def test_a_parameter_that_no_gradient_reaches_is_counted() -> None:
    torch.manual_seed(0)
    encoder, x = AudioEncoder("codes"), torch.randint(0, 1024, (4, 8, 30))
    assert gradient_share(encoder, x) == (19, 19)
    encoder.compression[-1].register_forward_pre_hook(lambda _, inputs: (inputs[0].detach(),))
    assert gradient_share(encoder, x) == (2, 19)  # only the last layer's weight and bias
    assert behaviour(encoder, x)["gradient_tensors"] == 2
