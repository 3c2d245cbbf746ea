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
from phonoscope.data import Features
from phonoscope.errors import DataError, ParamsError
from phonoscope.files import write_csv
from phonoscope.pipeline import sae, sae_report
from phonoscope.sae.store import load_sae
from tests.sae.planted import DIMS, config, plant

PARAMS = Path(__file__).parents[2] / "params.yaml"
SITES = ("encoder_1", "mlp_1", "encoder_all")
RATES = {"seed": 43, "rows_07": 0.5, "features": 96, "rows_09": 0.25, "detectors": 3, "detectors_07": 0.5}
DOWNSTREAM = ("ce_clean", "ce_sae", "ce_zero", "ce_recovered", "wer_clean", "wer_sae", "wer_zero")


@pytest.fixture
def params() -> Params:
    settings = config(sites=SITES, epochs=2, log_every=2, faithfulness=3)
    return load_params(PARAMS).model_copy(update={"sae": settings})


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, torch.Tensor]]:
    """A checkout with the features of three sites, and a Whisper that only notes which reconstructions it is given."""
    monkeypatch.chdir(tmp_path)
    frames = plant(600).frames
    index = pd.DataFrame({"split": np.where(np.arange(600) % 5 == 0, "eval", "train")})
    layers = frames, np.stack([frames, frames[:, ::-1]], axis=1), np.stack([frames, 2 * frames, -frames], axis=1)
    for site, values in zip(SITES, layers, strict=True):
        Features(values.astype(np.float16), index, {"site": site}).save(paths.features(site))
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


def test_every_site_gets_its_model_tables_and_scores_and_the_report_all_of_them(
    params: Params, heard: list[tuple[str, torch.Tensor]]
) -> None:
    forms = {"encoder_1": "autoencoder", "mlp_1": "transcoder", "encoder_all": "crosscoder"}
    live = {}
    for number, (site, form) in enumerate(forms.items()):
        report = sae.run(params, site)
        model = load_sae(paths.sae_model(site))
        assert (model.shape.form, model.shape.d_sae) == (form, 2 * DIMS)
        assert [name for name, _ in heard[number:]] == [site]
        torch.testing.assert_close(heard[number][1], model(torch.ones(2, model.shape.d_in)))
        scores = pd.read_csv(paths.sae_scores(site)).set_index("metric")["value"].to_dict()
        assert scores == pytest.approx(report.metrics, rel=1e-8)
        assert set(scores) >= {"fvu", "cosine", "l0", "dead_share", *DOWNSTREAM}
        assert ("fvu_layer_3" in scores) == (form == "crosscoder")
        features = pd.read_csv(paths.sae_metrics(site))
        assert features["feature"].tolist() == list(range(model.shape.d_sae))
        assert features["density"].sum() == pytest.approx(scores["l0"], rel=1e-6)
        live[site] = int((features["density"] > 0).sum())
        curve = pd.read_csv(paths.sae_training(site))
        assert set(curve) >= {"step", "frames", "reconstruction", "sparsity", "auxk", "l0", "dead_share", "lr"}
        assert np.isfinite(curve.to_numpy()).all()
        assert not paths.sae_checkpoint(site).parent.exists() or not list(paths.sae_checkpoint(site).parent.iterdir())
        other = load_sae(paths.sae_model(site) / "seed_43")
        assert other.shape == model.shape
        assert not torch.equal(other.W_dec, model.W_dec)
        notes = json.loads((paths.sae_model(site) / "cfg.json").read_text())["metadata"]
        assert (notes["hook_name"], notes["training"]["dead_tokens"]) == (site, 240)
    rows = [("sparse autoencoder", 96, 4, 3, 0.95), ("raw dimensions", 48, 4, 1, 0.8)]
    columns = ["representation", "dims", "phones_scored", "phones_above", "mean_auroc"]
    for number, site in enumerate(forms):  # a site without phones has no rows
        write_csv(paths.interpret_baselines(site), pd.DataFrame(rows if number else [], columns=columns))
        sparse = [("raw dimensions", 4, 1, 0.7), ("raw dimensions", 4, 16, 0.9)]
        table = pd.DataFrame(sparse if number else [], columns=["representation", "phones", "k", "mean_auroc"])
        write_csv(paths.interpret_sparse(site), table)
        write_csv(
            paths.interpret_stability(site), pd.DataFrame([(43, 0.5)], columns=["seed", "rows_07"]).assign(**RATES)
        )
    report = sae_report.run(params)
    baselines = pd.read_csv(paths.SAE_REPORT / "baselines.csv")
    assert baselines.columns.tolist() == ["site", *columns]
    assert baselines["site"].tolist() == [site for site in SITES[1:] for _ in rows]
    assert pd.read_csv(paths.SAE_REPORT / "stability.csv")["site"].tolist() == list(SITES)
    assert "3 of 4 " in (paths.SAE_REPORT / "table.md").read_text()
    assert sorted(path.name for path in report.figures) == ["density.png", "l0.png", "layers.png", "training.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in report.figures)
    density, layers = (pd.read_csv(paths.SAE_REPORT / f"{name}.csv") for name in ("density", "layers"))
    assert density.groupby("site")["features"].sum().to_dict() == live
    assert layers["site"].unique().tolist() == list(SITES)
    assert set(pd.read_csv(paths.SAE_REPORT / "l0.csv")) == {"site", "k", "l0", "fvu", "cosine"}


def test_any_number_of_workers_gives_the_same_bytes(params: Params, heard: list[Any]) -> None:
    def written(workers: int) -> list[bytes]:
        compute = params.compute.model_copy(update={"workers": workers})
        sae.run(params.model_copy(update={"compute": compute}), "encoder_1")
        tables = (paths.sae_metrics, paths.sae_training, paths.sae_scores, paths.sae_l0)
        files = [*sorted(paths.sae_model("encoder_1").rglob("*.*")), *(path("encoder_1") for path in tables)]
        return [file.read_bytes() for file in files]

    assert written(1) == written(2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "batchtop"}, r"sae\.kind: .*did you mean 'batchtopk'"),
        ({"kind": "relu", "options": {"l2": 1}}, r"sae\.options: .*l1"),
        ({"k": 2 * DIMS + 1}, "k is 97"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_key(
    params: Params, heard: list[Any], changes: dict[str, Any], said: str
) -> None:
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
