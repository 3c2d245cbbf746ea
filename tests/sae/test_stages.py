"""Stages `sae@<site>` and `sae-report` on planted features in a made-up checkout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from phonoscope import paths
from phonoscope.compute import in_threads, setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.params import Params, load_params
from phonoscope.config.sites import Site
from phonoscope.errors import DataError, ParamsError
from phonoscope.files import write_json
from phonoscope.pipeline import sae, sae_report
from phonoscope.sae.store import load_sae
from tests.sae.planted import DIMS, config, plant

PARAMS = Path(__file__).parents[2] / "params.yaml"
SITES = ("encoder_1", "mlp_1", "encoder_all")
DOWNSTREAM = ("ce_clean", "ce_sae", "ce_zero", "ce_recovered", "wer_clean", "wer_sae", "wer_zero")


@pytest.fixture
def params() -> Params:
    settings = config(sites=SITES, epochs=2, log_every=2, faithfulness=3)
    return load_params(PARAMS).model_copy(update={"sae": settings})


def _write_features(site: str, values: np.ndarray) -> None:
    paths.features(site).mkdir(parents=True)
    np.save(paths.features(site) / "features.npy", values.astype(np.float16))
    split = np.where(np.arange(len(values)) % 5 == 0, "eval", "train")
    pd.DataFrame({"split": split}).to_parquet(paths.features(site) / "index.parquet")
    write_json(paths.features(site) / "features.json", {"site": site, "rows": len(values)})


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, torch.Tensor]]:
    """A checkout with the features of three sites, and a Whisper that only notes which reconstructions it is given."""
    monkeypatch.chdir(tmp_path)
    frames = plant(600).frames
    _write_features("encoder_1", frames)
    _write_features("mlp_1", np.stack([frames, frames[:, ::-1]], axis=1))
    _write_features("encoder_all", np.stack([frames, 2 * frames, -frames], axis=1))
    calls: list[tuple[str, torch.Tensor]] = []

    def faithfulness(
        whisper: str, site: Site, audio: list[int], texts: list[str], reconstruct: Callable[..., Any], **settings: Any
    ) -> dict[str, float]:
        assert whisper == load_params(PARAMS).whisper.checkpoint
        assert (audio, texts) == ([3], ["three"])
        assert settings == {"normalize": "final", "context_s": load_params(PARAMS).whisper.context_s}
        calls.append((site.name, reconstruct(torch.ones(2, 3 * DIMS if site.layer is None else DIMS))))
        return dict.fromkeys(DOWNSTREAM, 0.5)

    utterance = SimpleNamespace(text="three")
    monkeypatch.setattr("phonoscope.whisper.model.open_whisper", lambda checkpoint, compute: checkpoint)
    monkeypatch.setattr("phonoscope.pipeline.listening.utterances", lambda: [utterance])
    monkeypatch.setattr("phonoscope.whisper.utterances.eval_utterances", lambda spoken, count: spoken[:count])
    monkeypatch.setattr("phonoscope.whisper.utterances.read_16k", lambda utterance: 3)
    monkeypatch.setattr("phonoscope.whisper.patching.faithfulness", faithfulness)
    return calls


@pytest.mark.parametrize("site", SITES)
def test_a_site_gets_its_model_its_tables_and_its_scores(
    site: str, params: Params, heard: list[tuple[str, torch.Tensor]]
) -> None:
    report = sae.run(params, site)
    model = load_sae(paths.sae_model(site))
    form = {"encoder_1": "autoencoder", "mlp_1": "transcoder", "encoder_all": "crosscoder"}[site]
    assert (model.shape.form, model.shape.d_sae) == (form, 2 * DIMS)
    assert [name for name, _ in heard] == [site]
    torch.testing.assert_close(heard[0][1], model(torch.ones(2, model.shape.d_in)))
    scores = pd.read_csv(paths.sae_scores(site)).set_index("metric")["value"].to_dict()
    assert scores == pytest.approx(report.metrics, rel=1e-8)
    assert set(scores) >= {"fvu", "cosine", "l0", "dead_share", *DOWNSTREAM}
    assert ("fvu_layer_3" in scores) == (form == "crosscoder")
    features = pd.read_csv(paths.sae_metrics(site))
    assert features["feature"].tolist() == list(range(model.shape.d_sae))
    assert features["density"].sum() == pytest.approx(scores["l0"], rel=1e-6)
    curve = pd.read_csv(paths.sae_training(site))
    assert set(curve) >= {"step", "frames", "reconstruction", "sparsity", "auxk", "l0", "dead_share", "lr"}
    assert np.isfinite(curve.to_numpy()).all()
    assert not paths.sae_checkpoint(site).exists()
    notes = json.loads((paths.sae_model(site) / "cfg.json").read_text())["metadata"]
    assert notes["hook_name"] == site
    assert notes["training"]["dead_tokens"] == 240


def test_any_number_of_workers_gives_the_same_bytes(params: Params, heard: list[Any]) -> None:
    def written(workers: int) -> list[bytes]:
        compute = params.compute.model_copy(update={"workers": workers})
        sae.run(params.model_copy(update={"compute": compute}), "encoder_1")
        tables = (paths.sae_metrics, paths.sae_training, paths.sae_scores, paths.sae_l0)
        files = [*sorted(paths.sae_model("encoder_1").iterdir()), *(path("encoder_1") for path in tables)]
        return [file.read_bytes() for file in files]

    assert written(1) == written(2)


def test_the_report_puts_all_sites_side_by_side(params: Params, heard: list[Any]) -> None:
    for site in SITES:
        sae.run(params, site)
    report = sae_report.run(params)
    assert sorted(path.name for path in report.figures) == ["density.png", "l0.png", "layers.png", "training.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in report.figures)
    density = pd.read_csv(paths.SAE_REPORT / "density.csv")
    for site in SITES:
        own, features = density[density["site"] == site], pd.read_csv(paths.sae_metrics(site))
        assert own["features"].sum() == (features["density"] > 0).sum()
    layers = pd.read_csv(paths.SAE_REPORT / "layers.csv")
    assert layers["site"].unique().tolist() == list(SITES)
    assert set(pd.read_csv(paths.SAE_REPORT / "l0.csv")) == {"site", "k", "l0", "fvu", "cosine"}


def test_a_truncated_features_file_is_refused_and_leaves_nothing(params: Params, heard: list[Any]) -> None:
    file = paths.features("encoder_1") / "features.npy"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(DataError, match="features"):
        sae.run(params, "encoder_1")
    assert not paths.sae_model("encoder_1").exists()
    assert not paths.sae_metrics("encoder_1").exists()


def test_k_above_the_width_is_refused(params: Params, heard: list[Any]) -> None:
    wide = params.model_copy(update={"sae": config(sites=SITES, k=2 * DIMS + 1)})
    with pytest.raises(ParamsError, match="k is 97"):
        sae.run(wide, "encoder_1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "batchtop"}, r"sae\.kind: .*did you mean 'batchtopk'"),
        ({"kind": "relu", "options": {"l2": 1}}, r"sae\.options: .*l1"),
    ],
)
def test_an_unknown_kind_or_option_is_refused_by_its_key(params: Params, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        sae.run(params.model_copy(update={"sae": params.sae.model_copy(update=changes)}), "encoder_1")


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_give_their_results_in_order_or_the_fault_of_one(workers: int) -> None:
    def fail() -> None:
        raise DataError("broken")

    config = ComputeConfig(workers=workers, torch_threads=1)
    setup_torch(config, seed=0)
    assert in_threads(config, torch.get_num_threads, lambda: "second", lambda: 3) == (1, "second", 3)
    with pytest.raises(DataError, match="broken"):
        in_threads(config, fail, lambda: 1)
