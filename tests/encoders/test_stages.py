import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.config.encoders import EncoderConfig
from phonoscope.config.params import Params, load_params
from phonoscope.data import Tokens
from phonoscope.encoders.study import build, reduce_dims
from phonoscope.encoders.train import WindowClassifier
from phonoscope.errors import DataError, ParamsError
from phonoscope.files import read_safetensors, write_json, write_safetensors
from phonoscope.pipeline import encoder, encoder_report

SIZES = {"layers": 2, "mel_bins": 12, "embed_dim": 6, "steps": 3, "batch_size": 4, "seeds": 2, "log_every": 2}
BRIEF = EncoderConfig(codec="toy", arms=("scrambled", "pretrained"), **SIZES)


def params(**changes: object) -> Params:
    there = load_params(Path(__file__).parents[2] / "params.yaml")
    compute = there.compute.model_copy(update={"workers": 1})
    return there.model_copy(update={"encoder": BRIEF.model_copy(update=changes), "compute": compute})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve isolated words and two sentences of two speakers, with tokens at 75 Hz."""
    root = tmp_path_factory.mktemp("encoders")
    rng = np.random.default_rng(0)
    rows, codes = [], {}
    for i in range(14):
        word, duration_s = ("", 2.0) if i >= 12 else (("yes", "no")[i % 2], 0.5)
        name = f"u{i:02d}"
        path = root / paths.CORPUS / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_flac(path, rng.normal(0, 0.1, round(16_000 * duration_s)).astype(np.float32), 16_000)
        rows.append((name, path.name, f"s{i // 2 % 2}", word))
        frames = round(75 * duration_s)
        codes[name] = rng.integers(0, 1024, (2, frames))
    pd.DataFrame(rows, columns=["utterance", "path", "speaker", "word"]).to_parquet(root / paths.MANIFEST)
    Tokens.from_arrays(codes, [1024, 1024], 75.0).save(root / paths.tokens("toy"))
    books = {f"layer_{layer}": torch.randn(1024, 9) for layer in (1, 2)}
    write_safetensors(root / paths.codebooks("toy"), books, {"codec": "toy", "frame_rate_hz": 75.0})
    names = [row[0] for row in rows]
    write_json(root / paths.SPLIT, {"train": [*names[:8], *names[12:]], "eval": names[8:12], "speaker_folds": []})
    return root


@pytest.fixture
def here(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(corpus)
    return corpus


def test_the_stages_write_models_scores_curves_claims_and_figures(here: Path) -> None:
    for kind in ("codes", "mel"):
        report = encoder.run(params(), kind)
        table = pd.read_csv(paths.encoder_metrics(kind))
        assert set(table["seed"]) == {0, 1}
        accuracy = table.loc[table["metric"] == "accuracy_word", "value"]
        assert report.metrics["accuracy_word"] == pytest.approx(accuracy.mean())
        curve = pd.read_csv(paths.encoder_training(kind))
        assert curve.groupby("seed")["step"].apply(list).tolist() == [[2, 3], [2, 3]]
        config = json.loads((paths.encoder(kind) / "config.json").read_text())
        assert config["input"] == kind
        assert config["channels"] == (2 if kind == "codes" else 12)
    state = load_file(paths.encoder("codes") / "seed_0.safetensors")
    WindowClassifier(build("codes", 2, BRIEF), {"word": 2, "speaker": 2}).load_state_dict(state)

    report = encoder_report.run(params())
    verdicts = pd.read_csv(paths.ENCODER_REPORT / "verdicts.csv").set_index(["claim", "encoder"])
    assert verdicts.loc[("a gradient reaches all 19 parameter tensors", "codes"), "verdict"] == "supported"
    assert ("accuracy_word above that of codes", "scrambled") in verdicts.index
    differences = pd.read_csv(paths.ENCODER_REPORT / "differences.csv")
    assert set(differences["encoder"]) == {"mel", "scrambled", "pretrained"}
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in report.figures)


def test_the_encoder_can_start_from_the_codecs_vectors_added_up(here: Path) -> None:
    encoder.run(params(start="codec", combine="sum", steps=1), "codes")
    table = load_file(paths.encoder("codes") / "seed_0.safetensors")["encoder.embedding.table.weight"]
    assert table.shape == (2 * 1024, 6)
    books, _ = read_safetensors(paths.codebooks("toy"))
    first = reduce_dims([books["layer_1"], books["layer_2"]], 6)[0]
    assert (table[:1024] - first).abs().median() < 1e-3  # one step moves the rows of the codes that occurred


def test_layers_that_the_codec_lacks_and_a_codec_without_tokens_are_refused(here: Path) -> None:
    with pytest.raises(ParamsError, match=r"encoder\.layers is 3; the codec 'toy' has 2"):
        encoder.run(params(layers=3), "codes")
    with pytest.raises(DataError, match=r"other.*no such token table"):
        encoder.run(params(codec="other"), "codes")
