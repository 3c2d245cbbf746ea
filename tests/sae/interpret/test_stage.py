from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.config.interpret import InterpretConfig
from phonoscope.config.params import Params, load_params
from phonoscope.data import Features
from phonoscope.files import read_safetensors
from phonoscope.pipeline.interpret import COLUMNS, run
from phonoscope.sae.models import SaeShape, SparseAutoencoder
from phonoscope.sae.store import save_sae

from .planted import WIDTH, plant

PARAMS = Path(__file__).parents[3] / "params.yaml"
SITE = "encoder_2"
CONFIG = InterpretConfig(top_k=3, min_segments=2, trees=2, map_points=20, clip_features=2)
PLANTED = plant(speakers=4, utterances=3)
VALUES = PLANTED.activations.toarray().astype(np.float16)


@pytest.fixture
def params() -> Params:
    return load_params(PARAMS).model_copy(update={"interpret": CONFIG})


def write_identity(site: str, parts: int = 1) -> None:
    """A model whose activations are its inputs; of several parts, the last. Another seed has the same features."""
    shape = SaeShape(kind="relu", d_in=parts * WIDTH, d_out=WIDTH, d_sae=WIDTH, k=4)
    model = SparseAutoencoder(shape if parts == 1 else shape.model_copy(update={"d_out": parts * WIDTH}))
    with torch.no_grad():
        model.encoder.copy_(torch.eye(WIDTH).repeat(1, parts) * (torch.arange(parts * WIDTH) >= (parts - 1) * WIDTH))
        model.W_dec.copy_(torch.eye(WIDTH).repeat(1, parts))
    for folder in (paths.sae_model(site), paths.sae_model(site) / "seed_7"):
        folder.mkdir(parents=True)
        save_sae(model, folder, {})


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Utterances of half a second with a click at the centre of every frame of AA's detector's highest activation."""
    monkeypatch.chdir(tmp_path)
    Features(VALUES, PLANTED.index, {"site": SITE}).save(paths.features(SITE))
    write_identity(SITE)
    rows = []
    for name, own in PLANTED.index.groupby("utterance", observed=True):
        samples = np.full(8000, 1e-3, dtype=np.float32)
        samples[320 * int(own["frame"].iloc[VALUES[own.index, 0].argmax()])] = 0.9
        write_flac(paths.CORPUS / f"{name}.flac", samples, 16000)
        rows.append({"utterance": str(name), "path": f"{name}.flac", "sample_rate": 16000})
    pd.DataFrame(rows).to_parquet(paths.MANIFEST)
    return tmp_path


def outputs() -> dict[str, bytes]:
    folders = [paths.interpretation(SITE), paths.interpret_plots(SITE)]
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    files += [paths.interpret_metrics(SITE), paths.interpret_scores(SITE)]
    files += [paths.interpret_baselines(SITE), paths.interpret_sparse(SITE), paths.interpret_stability(SITE)]
    return {str(file): file.read_bytes() for file in files}


def test_stage_writes_the_contract_and_the_same_bytes_again(checkout: Path, params: Params) -> None:
    report = run(params, SITE)
    rows = pd.read_csv(paths.interpret_metrics(SITE))
    assert tuple(rows.columns) == COLUMNS
    assert len(rows) == WIDTH
    scores = pd.read_csv(paths.interpret_scores(SITE)).set_index("metric")["value"]
    assert scores["phones_with_auroc_90"] == report.metrics["phones_with_auroc_90"] == 3
    assert np.isfinite(scores).all()
    beside = pd.read_csv(paths.interpret_baselines(SITE)).set_index("representation")
    assert beside.loc["sparse autoencoder", "phones_above"] == scores["phones_with_auroc_90"]
    assert beside.loc["linear probe", "phones_scored"] == scores["phones"]
    assert beside.loc["sparse autoencoder, seed 7"].equals(beside.loc["sparse autoencoder"])
    assert set(pd.read_csv(paths.interpret_sparse(SITE))["k"]) == {1, 2, 5, 16}
    shares = ["seed", "rows_07", "rows_09", "detectors", "detectors_07"]
    assert pd.read_csv(paths.interpret_stability(SITE))[shares].to_numpy().tolist() == [[7, 1, 1, 3, 1]]
    folder = paths.interpretation(SITE)
    tables = {"features", "phones", "windows", "means", "power", "forest"}
    assert {file.stem for file in folder.glob("*.parquet")} == tables
    assert json.loads((folder / "notes.json").read_text())["skipped"] == {}
    assert sorted(file.stem for file in report.figures) == ["accents", "effects", "features", "phones"]
    assert all(file.stat().st_size > 5000 for file in report.figures)
    tensors, metadata = read_safetensors(folder / "activations.safetensors")
    dense = torch.sparse_csr_tensor(
        tensors["indptr"], tensors["indices"], tensors["data"], metadata["shape"]
    ).to_dense()
    assert np.array_equal(dense.numpy(), np.load(paths.features(SITE) / "features.npy").astype(np.float32))
    first = outputs()
    run(params, SITE)
    assert outputs() == first


def test_clips_are_cut_around_the_highest_frames(checkout: Path, params: Params) -> None:
    """The click of each utterance is in the middle of its clip, beyond the edges of the file there is silence."""
    run(params, SITE)
    clips = sorted((paths.interpretation(SITE) / "clips/00000").glob("*.flac"))
    assert [clip.name for clip in clips] == ["01.flac", "02.flac", "03.flac"]
    windows = pd.read_parquet(paths.interpretation(SITE) / "windows.parquet").query("feature == 0")
    for clip, frame in zip(clips, windows["frame"], strict=True):
        samples, rate = sf.read(clip)
        assert (len(samples), rate) == (16000, 16000)
        assert np.abs(samples).argmax() == 8000
        there = np.flatnonzero(samples)
        assert [there[0], there[-1] + 1] == [8000 - 320 * frame, 16000 - 320 * frame]


@pytest.mark.parametrize(("site", "parts"), [("mlp_1", 1), ("encoder_all", 3)])
def test_transcoders_read_the_mlp_input_and_crosscoders_all_layers(
    checkout: Path, params: Params, site: str, parts: int
) -> None:
    other = np.random.default_rng(0).random(VALUES.shape).astype(np.float16)
    stacked = [VALUES, other] if site == "mlp_1" else [other, other, VALUES]
    Features(np.stack(stacked, axis=1), PLANTED.index, {"site": site}).save(paths.features(site))
    write_identity(site, parts)
    for name in (site, SITE):
        run(params, name)
    result, plain = (pd.read_parquet(paths.interpretation(name) / "features.parquet") for name in (site, SITE))
    pd.testing.assert_frame_equal(result, plain)


def test_a_decoders_positions_have_no_clips(checkout: Path, params: Params) -> None:
    Features(VALUES, PLANTED.index.assign(phone=""), {"site": "decoder_1"}).save(paths.features("decoder_1"))
    write_identity("decoder_1")
    run(params, "decoder_1")
    features = pd.read_parquet(paths.interpretation("decoder_1") / "features.parquet")
    assert not features["clips"].any()
    assert set(features["best_phone"]) == {""}
    assert len(pd.read_parquet(paths.interpretation("decoder_1") / "windows.parquet"))
    assert not (paths.interpretation("decoder_1") / "clips").exists()


def test_a_large_corpus_is_thinned_with_a_warning(
    checkout: Path, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    few = params.model_copy(update={"interpret": CONFIG.model_copy(update={"max_frames": 150})})
    report = run(few, SITE)
    assert report.metrics["frames"] == 150
    means = pd.read_parquet(paths.interpretation(SITE) / "means.parquet").query("kind == 'phone'")
    assert means.groupby("group", observed=True)["frames"].first().to_dict() == {"AA": 30, "S": 30, "SIL": 60, "T": 30}
    assert "150 of 300 frames are used (interpret.max_frames)" in caplog.text
