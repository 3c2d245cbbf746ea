from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.codecs.base import encode_batch, frame_rate_hz
from phonoscope.codecs.checkpoints import save_codec
from phonoscope.config.codecs import CodecConfig, TrainingConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.params import Params, load_params
from phonoscope.data import Alignment, Codebooks, Interval, Labels, Latents, Manifest, Split, Tokens
from phonoscope.errors import DataError, ParamsError
from phonoscope.pipeline import depth
from phonoscope.probes.schema import COLUMNS

from ..codecs.tiny import alive, voice
from .deep import quick

PARAMS = Path(__file__).parents[2] / "params.yaml"
PHONES = ("AA", "S", "M", "SIL")
RATE_HZ = 16_000


@pytest.fixture
def params() -> Params:
    section = quick(layers=(1, 2), inputs=("layer", "cumulative", "latent", "untrained"), information=("phone", "sex"))
    changes = {
        "codecs": {"mine": CodecConfig(kind="speechtokenizer", checkpoint="scratch", layers=2)},
        "depth": section,
        "training": TrainingConfig(batch_size=2, clip_s=0.16),
        "compute": ComputeConfig(device="cpu", workers=1),
    }
    return load_params(PARAMS).model_copy(update=changes)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny codec, and twelve utterances of four speakers with its codes."""
    monkeypatch.chdir(tmp_path)
    codec = alive("speechtokenizer", n_q=2)
    paths.codec_model("mine").mkdir(parents=True)
    save_codec(codec, "speechtokenizer", paths.codec_model("mine"))
    rows, tokens, latents, alignments = [], {}, {}, {}
    tracks: dict[str, Any] = {}
    for index in range(12):
        name, path = f"u{index:02d}", f"s{index % 4}/c/u{index:02d}.flac"
        samples = voice(0.8, RATE_HZ, index)
        write_flac(paths.CORPUS / path, samples, RATE_HZ)
        rows.append((name, path, f"s{index % 4}", "FM"[index % 2], "x", f"text {index // 4}", RATE_HZ))
        encoded = encode_batch(codec, torch.from_numpy(samples)[None])
        tokens[name], latents[name] = encoded.codes[0].numpy(), encoded.latent[0].detach().numpy().T
        frames = tokens[name].shape[1]
        bounds = np.arange(0, frames + 1, 5) / frame_rate_hz(codec)
        phones = [Interval(*span, PHONES[i % 4]) for i, span in enumerate(pairwise(bounds))]
        alignments[name] = Alignment([], phones)
        tracks[name] = np.arange(90) * 0.01, np.full(90, 100.0, dtype=np.float32)
    columns = ("utterance", "path", "speaker", "sex", "accent", "text", "sample_rate")
    manifest = Manifest.from_arrays(**dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
    manifest.save(paths.MANIFEST)
    Split(manifest.utterances[:8], manifest.utterances[8:], [["s0", "s1"], ["s2", "s3"]]).save(paths.SPLIT)
    Labels.from_intervals(alignments, tracks).save(paths.ALIGNMENTS)
    books = Codebooks.from_arrays(codec.codebooks().vectors[:2], frame_rate_hz=frame_rate_hz(codec))
    books.save(paths.codebooks("mine"))
    Tokens.from_arrays(tokens, books.sizes, books.frame_rate_hz).save(paths.tokens("mine"))
    Latents.from_arrays(latents).save(paths.tokens_dir("mine"))
    return tmp_path


def test_the_stage_probes_every_input(checkout: Path, params: Params) -> None:
    report = depth.run(params, "mine")
    rows = pd.read_csv(paths.depth_metrics("mine"))
    assert tuple(rows.columns) == COLUMNS
    assert np.isfinite(rows["value"]).all()
    assert rows.loc[rows[["low", "high"]].isna().any(axis=1), "measure"].unique() == ["mi_corrected_bits"]
    refitted = rows["probe"].isin(["linear", "mlp", "pooled"]) & (rows["measure"] != "selectivity")
    assert np.isfinite(rows.loc[refitted | (rows["measure"] == "mi_corrected_bits"), "null"]).all()
    probed = rows[(rows["task"] == "phone") & (rows["probe"] == "linear") & (rows["measure"] == "macro_f1")]
    assert sorted(zip(probed["input"], probed["layer"], strict=True)) == [
        *(("cumulative", 2), ("latent", 0), ("layer", 1), ("layer", 2), ("untrained", 1), ("untrained", 2))
    ]
    assert set(rows.loc[rows["task"] == "sex", "measure"]) == {
        "mi_corrected_bits",
        "mi_held_out_bits",
        "mi_held_out_share",
    }
    assert report.metrics["phone.layer.macro_f1.layer_1"] == pytest.approx(
        probed.loc[(probed["input"] == "layer") & (probed["layer"] == 1), "value"].item()
    )
    files = [paths.depth_metrics("mine"), paths.depth_classes("mine"), paths.confusion("mine")]
    first = [file.read_bytes() for file in files]
    depth.run(params.model_copy(update={"compute": ComputeConfig(device="cpu", workers=2)}), "mine")
    assert [file.read_bytes() for file in files] == first


@pytest.mark.parametrize(
    ("names", "frames", "error", "message"),
    [
        (12, 25, DataError, "u00: 25 frames, but 40 in the token table"),
        (6, 40, ParamsError, r"encode\.latents: the latents of 6 of 12 sampled utterances were not kept"),
    ],
)
def test_latents_that_do_not_fit_the_tokens_are_refused(
    checkout: Path, params: Params, names: int, frames: int, error: type[Exception], message: str
) -> None:
    kept = Latents.load(paths.tokens_dir("mine"))
    parts = {name: np.array(kept[name][:frames]) for name in kept.utterances[:names]}
    Latents.from_arrays(parts).save(paths.tokens_dir("mine"))
    with pytest.raises(error, match=message):
        depth.run(params, "mine")
    assert not paths.depth_metrics("mine").exists()
