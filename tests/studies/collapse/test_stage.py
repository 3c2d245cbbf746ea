import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.config.params import Params, load_params
from phonoscope.config.vq import SequenceConfig
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors, write_json
from phonoscope.pipeline.base import StageReport
from phonoscope.pipeline.vq import run
from phonoscope.pipeline.vq_report import run as run_report
from phonoscope.report.summary import vq_headline
from phonoscope.studies.collapse.variants import arm_variants, main_variants

from .words import BRIEF

PARAMS = Path(__file__).parents[3] / "params.yaml"
TONES = {"one": 300.0, "two": 900.0, "six": 1800.0, "yes": 500.0}
SMALL = SequenceConfig(components=4, states=3, d_max=3)
STUDY = BRIEF.model_copy(update={"arms": ("older",), "arm_seeds": 2, "steps": 3, "sequence": SMALL})
NAMES = [variant.name for variant in main_variants() + arm_variants(STUDY.arms)]


def params() -> Params:
    loaded = load_params(PARAMS)
    compute = loaded.compute.model_copy(update={"workers": 1})
    return loaded.model_copy(update={"vq": STUDY, "compute": compute})


def write_corpus(per_word: int = 5) -> None:
    """Tones for words: the last take of each is eval's."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    split: dict[str, list[str]] = {"train": [], "eval": []}
    for word, frequency_hz in TONES.items():
        for take in range(per_word):
            name = f"{word}-{take}"
            time_s = np.arange(int(rng.integers(1600, 3200))) / 8000
            samples = 0.3 * np.sin(2 * np.pi * frequency_hz * time_s) + 0.01 * rng.normal(size=len(time_s))
            write_flac(paths.CORPUS / f"{name}.flac", samples.astype(np.float32), 8000)
            rows.append({"utterance": name, "path": f"{name}.flac", "word": word, "sample_rate": 8000})
            split["eval" if take == per_word - 1 else "train"].append(name)
    pd.DataFrame(rows).to_parquet(paths.MANIFEST)
    write_json(paths.SPLIT, split)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageReport]:
    """What stage `vq` reports, in a folder where both stages ran."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("vq"))
        write_corpus()
        ran = run(params())
        run_report(params())
        yield ran


@pytest.mark.usefixtures("report")
def test_every_variant_leaves_a_table_and_its_checkpoints() -> None:
    assert sorted(file.stem for file in paths.VQ_METRICS.iterdir()) == sorted(NAMES)
    for name in NAMES:
        table, folder = pd.read_csv(paths.VQ_METRICS / f"{name}.csv"), paths.VQ_MODELS / name
        assert not table.isna().to_numpy().any()
        assert set(table["seed"]) == ({1, 2} if "older" in name else {1})
        weights, described = read_safetensors(folder / "model.safetensors")
        assert described["variant"] == name
        assert ("quantizer.layers.0.embed_avg" in weights) == ("vq" in name)
        assert json.loads((folder / "config.json").read_text())["settings"]["codes"] == 8
        assert (folder / "model_2.safetensors").exists() == ("older" in name)


def test_only_digits_are_classified_and_reported_by_epoch(report: StageReport) -> None:
    table = pd.read_csv(paths.VQ_METRICS / "baseline.csv")
    assert table[(table["mode"] == "eval") & (table["split"] == "eval")]["clips"].max() == 3
    epochs = pd.read_csv(paths.VQ_METRICS / "vq.csv")["epoch"].max()
    assert len(report.by_epoch["vq.eval.accuracy"]) == epochs
    assert "vq_unscaled.eval.perplexity_ema" in report.by_epoch
    assert "baseline.eval.perplexity_ema" not in report.by_epoch


@pytest.mark.usefixtures("report")
def test_the_report_has_tables_figures_and_headlines() -> None:
    headline = vq_headline(pd.read_csv(paths.VQ_REPORT / "headline.csv"))
    assert list(headline) == NAMES
    assert set(headline["vq_unscaled"]) == {"accuracy", "perplexity_train", "perplexity_eval", "active_codes_eval"}
    assert set(headline["hsmm"]) == {"accuracy"}
    verdicts = pd.read_csv(paths.VQ_REPORT / "verdicts.csv")
    assert {claim[:2] for claim in verdicts["claim"]} > {"H1", "H3", "H4", "Q1", "Q2", "Q3", "Q4"}
    assert "## Variants" in (paths.VQ_REPORT / "table.md").read_text()
    figures = sorted(paths.VQ_PLOTS.iterdir())
    assert [figure.name for figure in figures] == ["encoder.png", "norms.png", "perplexities.png"]
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in figures)


def test_a_corpus_with_fewer_vectors_than_codes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus()
    with pytest.raises(DataError, match="4096 codes cannot start from"):
        run(params().model_copy(update={"vq": STUDY.model_copy(update={"codes": 4096})}))
    assert not paths.VQ_MODELS.exists()
    assert not paths.VQ_METRICS.exists()
