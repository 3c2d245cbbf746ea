from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.config.probes import ProbeConfig
from phonoscope.data import Codebooks
from phonoscope.errors import DataError
from phonoscope.files import write_csv, write_safetensors
from phonoscope.pipeline import compare, summary
from tests.probes.planted import make_corpus

CODECS = ["speechtokenizer", "speechtokenizer_undistilled"]
PARAMS: Any = SimpleNamespace(
    codecs=dict.fromkeys(CODECS),
    sae=SimpleNamespace(sites=["encoder_2"]),
    probe=ProbeConfig(ranks=(2,)),
)


def probe_codecs() -> None:
    """Write the files of the probe stages: the undistilled codec's codes are wrong on a third of the frames."""
    codebook = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
    corpus = make_corpus(codebook, utterances=24, frames=60)
    noise = np.random.default_rng(1)
    wrong = np.where(noise.random(corpus.codes.shape) < 1 / 3, noise.permutation(corpus.codes), corpus.codes)
    for codec, codes in zip(CODECS, (corpus.codes, wrong), strict=True):
        result = replace(corpus, codes=codes).probe(PARAMS.probe, codec)
        for task, probes in result.tasks.items():
            write_safetensors(paths.probes(codec) / f"{task}.safetensors", *probes.to_tensors())
        write_csv(paths.probe_metrics(codec), result.table)
        Codebooks.from_arrays([codebook], [codebook[:, :5]]).save(paths.codebooks(codec))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        probe_codecs()
        compare.run(PARAMS)
    return folder


@pytest.fixture
def compared(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(comparison)


def artifacts() -> dict[str, bytes]:
    files = [*paths.COMPARISON.iterdir(), *paths.COMPARISON_PLOTS.iterdir()]
    return {path.name: path.read_bytes() for path in files}


def test_compare_writes_the_same_bytes_again_and_ignores_stale_codecs(compared: None) -> None:
    first = artifacts()
    assert {name for name in first if name.endswith(".png")} == {"phone.png", "speaker.png", "pitch.png"}
    assert first.keys() > {"probes.csv", "distillation.csv", "verdicts.csv", "table.md"}
    paths.probe_metrics("gone").write_text("stale")
    report = compare.run(PARAMS)
    assert artifacts() == first
    assert all(figure.exists() for figure in report.figures)
    verdicts = pd.read_csv(paths.COMPARISON / "verdicts.csv").set_index("claim")["verdict"]
    assert verdicts["phone macro-F1: distilled over undistilled"] == "supported"


def write_metric_tables(si_sdr_db: float = 4.0) -> None:
    for stage in ("corpus", "align", "split"):
        write_csv(paths.stage_metrics(stage), pd.DataFrame({"metric": ["utterances"], "value": [40]}))
    encoded = [(0, "bitrate_bps", 4000.0, 9), (2, "perplexity", 30.0, 9), (1, "perplexity", 20.0, 9)]
    encoded += [(1, "si_sdr_db", 1.0, 9), (2, "si_sdr_db", si_sdr_db, 9)]
    encoded += [(1, "stoi", 0.4, 3), (2, "stoi", np.nan, 0), (1, "used_codes", 5.0, 9)]  # no clip of 2 allows STOI
    words = [("codes_mean", metric, value) for metric, value in (("silhouette", -0.1), ("davies_bouldin", 5.0))]
    geometry = pd.DataFrame(words, columns=["representation", "metric", "value"])
    head = ["task", "split", "input", "layer", "probe", "measure", "value"]
    deep = [("phone", "utterances", "layer", 1, "table", "mi_held_out_bits", 1.5)]
    deep += [("phone", "utterances", "cumulative", layer, "linear", "macro_f1", layer / 10) for layer in (2, 4)]
    for codec in CODECS:
        write_csv(paths.encode_metrics(codec), pd.DataFrame(encoded, columns=["layer", "metric", "value", "n"]))
        write_csv(paths.geometry_metrics(codec), geometry.assign(view="notebook", space="full", label="word"))
        write_csv(paths.depth_metrics(codec), pd.DataFrame(deep, columns=head))
    variants = [("vq", "accuracy", 0.9), ("vq", "perplexity_eval", 120.0), ("baseline", "accuracy", 0.95)]
    write_csv(paths.VQ_REPORT / "headline.csv", pd.DataFrame(variants, columns=["variant", "metric", "value"]))
    sizes = {"accuracy_word": 0.7, "accuracy_speaker": 0.5, "parameters": 100.0}
    sizes |= {"input_bytes": 7168.0, "loss_word": 1.0}
    for kind in ("codes", "mel"):
        rows = [(kind, seed, name, value + 0.1 * seed) for name, value in sizes.items() for seed in range(2)]
        table = pd.DataFrame(rows, columns=["encoder", "seed", "metric", "value"])
        write_csv(paths.encoder_metrics(kind), table[(table["seed"] == 0) | (table["value"] < 10)])
    scores = {"fvu": 0.1, "cosine": 0.9, "l0": 32.0, "dead_share": 0.0, "ce_recovered": 0.9}
    scores |= {"wer_clean": 0.1, "wer_sae": 0.2, "wer_zero": 1.0}
    metrics = {paths.sae_scores: scores, paths.interpret_scores: {"phones": 39, "phones_with_auroc_90": 30}}
    for path, values in metrics.items():
        write_csv(path("encoder_2"), pd.DataFrame({"metric": list(values), "value": list(values.values())}))


def test_summary_collects_every_stage(compared: None) -> None:
    write_metric_tables()
    report = summary.run(PARAMS)
    written = json.loads(paths.SUMMARY.read_text())
    assert written["corpus"] == {"utterances": 40}
    perplexity = {"perplexity_layer_1": 20, "perplexity_layer_2": 30}
    assert written["codec"][CODECS[1]] == {"bitrate_bps": 4000, "si_sdr_db": 4} | perplexity
    rows = pd.read_csv(paths.probe_metrics(CODECS[0])).query("probe == 'linear'")
    probe = rows.set_index(["task", "measure", "layer"])["value"]
    assert written["probe"][CODECS[0]]["pitch"]["layer_2"] == probe["pitch", "r2", 2]
    assert written["compare"]["distillation"]["speechtokenizer_phone_ratio"] > 1.1
    kept = {"fvu": 0.1, "l0": 32, "dead_share": 0, "ce_recovered": 0.9, "wer_clean": 0.1, "wer_sae": 0.2}
    assert written["sae"]["encoder_2"] == kept | {"phones_with_auroc_90": 30}
    assert written["geometry"][CODECS[0]] == {"codes_mean": {"silhouette_word": -0.1, "davies_bouldin_word": 5}}
    assert written["vq"] == {"vq": {"accuracy": 0.9, "perplexity_eval": 120}, "baseline": {"accuracy": 0.95}}
    sizes = {"accuracy_word": 0.75, "accuracy_speaker": 0.55, "parameters": 100, "input_bytes": 7168}
    assert written["encoder"]["mel"] == pytest.approx(sizes)
    assert written["depth"][CODECS[0]] == {"phone_mi_held_out_bits_layer_1": 1.5, "phone_macro_f1_cumulative": 0.4}
    assert report.metrics["codec.speechtokenizer.si_sdr_db"] == 4
    assert report.metrics["probe.speechtokenizer.phone.layer_1"] == probe["phone", "macro_f1", 1]


def test_summary_refuses_nan(compared: None) -> None:
    write_metric_tables(si_sdr_db=float("nan"))
    with pytest.raises(DataError, match=r"codec\.speechtokenizer\.si_sdr_db"):
        summary.run(PARAMS)
