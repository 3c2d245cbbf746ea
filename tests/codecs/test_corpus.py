from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phonoscope import paths
from phonoscope.audio import read_audio, resample
from phonoscope.codecs import checkpoints, corpus
from phonoscope.codecs.base import encode, encode_batch
from phonoscope.codecs.checkpoints import load_codec
from phonoscope.codecs.corpus import usage_table
from phonoscope.config.codecs import CodecConfig, TrainingConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.encode import EncodeConfig, LatentsConfig
from phonoscope.config.params import Params, load_params
from phonoscope.data import Codebooks, Latents, Tokens
from phonoscope.data.latents import read_mean_latents
from phonoscope.pipeline import codec as codec_stage
from phonoscope.pipeline import encode as encode_stage
from phonoscope.pipeline.base import StageReport

from .conftest import DURATIONS_S
from .tiny import ARCHITECTURES, make_small_tiny

PARAMS = Path(__file__).parents[2] / "params.yaml"
BRIEF = TrainingConfig(batch_size=2, clip_s=0.16, warmup_steps=2, quantizer_steps=2, log_every=1)


@pytest.fixture
def params() -> Params:
    changes = {
        "codecs": {"mine": CodecConfig(kind="speechtokenizer", checkpoint="scratch", layers=2)},
        "training": BRIEF,
        "compute": ComputeConfig(device="cpu", workers=1),
        "encode": EncodeConfig(latents=LatentsConfig(train=2)),
    }
    return load_params(PARAMS).model_copy(update=changes)


def with_codec(params: Params, **settings: Any) -> Params:
    """The same parameters with another codec."""
    return params.model_copy(update={"codecs": {"mine": CodecConfig(**settings)}})


def train_and_encode(params: Params) -> tuple[StageReport, StageReport]:
    return codec_stage.run(params, "mine"), encode_stage.run(params, "mine")


def test_codec_and_encode_stages_write_the_contract_and_the_same_bytes_again(checkout: Path, params: Params) -> None:
    shutil.rmtree(paths.ALIGNMENTS)  # labels are joined when tokens are read: an edit of them encodes nothing again
    trained, report = train_and_encode(params)
    assert trained.metrics["bitrate_bps"] == 50 * 2 * 5
    assert pd.read_csv(paths.codec_metrics("mine"))["step"].max() == 4
    assert report.metrics.keys() == {"bitrate_bps", "si_sdr_db", "mel_distance_db"}
    assert len(report.by_layer["perplexity"]) == len(report.by_layer["si_sdr_db"]) == 2

    tokens, latents = Tokens.load(paths.tokens("mine")), Latents.load(paths.tokens_dir("mine"))
    codec = load_codec(paths.codec_model("mine"), 2)
    assert (tokens.sizes, tokens.frame_rate_hz) == ((32, 32), 50.0)
    assert tokens.lengths() == {name: int(seconds * 16_000) // 320 for name, seconds in DURATIONS_S.items()}
    assert latents.utterances == ("a", "c", "d")  # evenly spaced: two of train, one of eval
    means = read_mean_latents(paths.latents("mine"), list(DURATIONS_S))
    for row, (name, codes) in enumerate(tokens.codes().items()):
        samples, rate = read_audio(paths.CORPUS / f"s/c/{name}.flac")
        audio = torch.from_numpy(resample(samples, rate, 16_000))
        with torch.inference_mode():
            expected = encode_batch(codec, audio[None])
            latent = codec.latent(audio[None, None])[0].numpy()[:, : codes.shape[1]]  # without a last, partial frame
        np.testing.assert_array_equal(codes, expected.codes[0].numpy())
        np.testing.assert_allclose(means[row], latent.mean(axis=1), atol=1e-6)
        if name in latents:
            np.testing.assert_array_equal(latents[name], latent.T)
    assert pq.ParquetFile(paths.tokens("mine")).metadata.num_row_groups == 1

    books = Codebooks.load(paths.codebooks("mine"))
    assert (books.sizes, books.frame_rate_hz, books.coincide) == ((32, 32), 50.0, True)
    np.testing.assert_array_equal(books.vectors[0], codec.codebooks().vectors[0].numpy())

    table = pd.read_csv(paths.encode_metrics("mine"))
    used = table[table["metric"] == "used_codes"].set_index("layer")["value"].to_dict()
    assert used == {layer: (counts > 0).sum() for layer, counts in enumerate(tokens.usage(), start=1)}

    files = [*paths.codec_model("mine").iterdir(), *paths.tokens_dir("mine").iterdir()]
    files += [paths.codec_metrics("mine"), paths.encode_metrics("mine")]
    written = {file: file.read_bytes() for file in files}
    assert len(written) == 9
    train_and_encode(params)
    assert written == {file: file.read_bytes() for file in files}  # the same bytes again


@given(st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=60), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_code_usage_is_that_of_counting(layers: list[list[int]]) -> None:
    counts = [np.bincount(codes, minlength=8) for codes in layers]
    table = usage_table(counts).set_index(["layer", "metric"])
    for index, codes in enumerate(layers, start=1):
        shares = [n / len(codes) for n in Counter(codes).values()]
        nats = -sum(share * math.log(share) for share in shares)
        values: Any = table.loc[index, "value"]
        assert values["perplexity"] == pytest.approx(math.exp(nats))
        assert values["normalised_entropy"] == pytest.approx(nats / math.log(8), abs=1e-12)
        assert values["used_codes"] == len(set(codes))
        assert set(table.loc[index, "n"]) == {len(codes)}


@pytest.mark.parametrize("kind", ["encodec", "dac", "speechtokenizer"])
def test_an_untrained_codec_has_random_weights_and_codebooks_of_its_own_latents(
    kind: str, checkout: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_tiny(monkeypatch, kind)
    changed = with_codec(params, kind=kind, checkpoint="untrained", layers=2)
    report = codec_stage.run(changed, "mine")
    assert report.metrics["steps"] == 0
    assert pd.read_csv(paths.codec_metrics("mine")).empty
    torch.manual_seed(changed.training.seed)
    random = checkpoints.random_codec(kind).model.state_dict()
    untrained = load_codec(paths.codec_model("mine")).model.state_dict()
    decoder = [name for name in random if name.startswith("decoder")]
    assert decoder
    assert all(torch.equal(random[name], untrained[name]) for name in decoder)
    encode_stage.run(changed, "mine")
    tokens = pd.read_parquet(paths.tokens("mine"))
    assert tokens[["code_1", "code_2"]].nunique().min() > 5


def test_an_untrained_codec_can_be_of_an_official_checkpoints_size(checkout: Path, params: Params) -> None:
    official = {**ARCHITECTURES["speechtokenizer"], "dimension": 24}
    torch.manual_seed(1)
    model = checkpoints.random_codec("speechtokenizer", None, official).model
    torch.save(model.state_dict(), checkout / "SpeechTokenizer.pt")
    (checkout / "config.json").write_text(json.dumps(official))
    source = f"untrained:{checkout / 'SpeechTokenizer.pt'}"
    codec_stage.run(with_codec(params, kind="speechtokenizer", checkpoint=source, layers=2, distill=True), "mine")
    untrained = load_codec(paths.codec_model("mine"))
    assert untrained.architecture()["dimension"] == 24
    weights = "encoder.model.0.conv.conv.weight_v"
    assert not torch.equal(untrained.model.state_dict()[weights], model.state_dict()[weights])


def test_an_interrupted_stage_goes_on_after_its_finished_shards(
    checkout: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_and_encode(params)
    whole = paths.tokens("mine").read_bytes()
    left = [2]

    def encoded(*arguments: Any) -> Any:
        if left[0] == 0:
            raise OSError("interrupted")
        left[0] -= 1
        return encode(*arguments)

    monkeypatch.setattr(corpus, "SHARD_UTTERANCES", 1)
    monkeypatch.setattr(corpus, "encode", encoded)
    with pytest.raises(OSError, match="interrupted"):
        encode_stage.run(params, "mine")
    assert paths.tokens("mine").read_bytes() == whole
    left[0] = 2  # the two utterances that are left, not all four
    encode_stage.run(params, "mine")
    assert left == [0]
    assert pd.read_parquet(paths.tokens("mine")).equals(pq.read_table(io.BytesIO(whole)).to_pandas())


def test_adapting_starts_from_the_checkpoint_and_changes_it(checkout: Path, params: Params) -> None:
    codec_stage.run(params, "mine")
    before = load_codec(paths.codec_model("mine")).model.state_dict()
    paths.codec_model("mine").rename(checkout / "mine")
    digest = hashlib.sha256((checkout / "mine" / "model.safetensors").read_bytes()).hexdigest()
    (checkout / "SHA256SUMS").write_text(f"{digest}  mine/model.safetensors\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "PACKAGED", checkout)
        report = codec_stage.run(
            with_codec(params, kind="speechtokenizer", checkpoint="packaged", layers=2, adapt_steps=3), "mine"
        )
    assert report.metrics["steps"] == 3
    after = load_codec(paths.codec_model("mine")).model.state_dict()
    changes = [float((after[name] - before[name]).abs().max()) for name in before if "decoder" in name]
    assert max(changes) > 0
    assert max(changes) < 0.1
    curve = pd.read_csv(paths.codec_metrics("mine"))
    assert float(curve.loc[curve["part"] == "latent_mel", "value"].abs().max()) == 0
    assert set(curve["phase"]) == {"quantized"}
