from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from phonoscope import paths
from phonoscope.config.maps import MapsConfig
from phonoscope.config.params import Params, load_params
from phonoscope.data import Codebooks, Manifest
from phonoscope.pipeline.maps import run
from phonoscope.report.maps import COLUMNS

from .planted_maps import codebook, planted_labels, planted_tokens

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def params() -> Params:
    everything = load_params(PARAMS)
    codecs = {name: everything.codecs[name] for name in ("encodec", "dac")}
    maps = MapsConfig(layers=(1, 2), frames=200, max_iter=250, perplexity=8, speakers=2)
    # in this process: workers left over from another test stand in another folder
    alone = everything.compute.model_copy(update={"workers": 1})
    return everything.model_copy(update={"codecs": codecs, "maps": maps, "compute": alone})


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for rank, (codec, layers) in enumerate({"encodec": 1, "dac": 2}.items()):
        planted_tokens(layers=layers, seed=rank).save(paths.tokens(codec))
        Codebooks.from_arrays([codebook(layer) for layer in range(layers)]).save(paths.codebooks(codec))
    labels = planted_labels()
    paths.ALIGNMENTS.mkdir(parents=True)
    labels.save(paths.ALIGNMENTS)
    speakers = [f"s{i % 3}" for i in range(len(labels.utterances))]
    Manifest.from_arrays(labels.utterances, speaker=speakers).save(paths.MANIFEST)
    return tmp_path


def test_the_stage_draws_three_figures_and_tells_how_far_to_trust_them(checkout: Path, params: Params) -> None:
    report = run(params)
    assert [figure.stem for figure in report.figures] == ["phone", "pitch", "speaker"]
    for figure in report.figures:
        assert np.ptp(imread(io.BytesIO(figure.read_bytes()))) > 0.5
    rows = pd.read_csv(paths.stage_metrics("maps"))
    assert tuple(rows.columns) == COLUMNS
    assert rows[["codec", "layer"]].to_numpy().tolist() == [["encodec", 1], ["dac", 1], ["dac", 2]]
    assert rows["frames"].tolist() == [200] * 3
    assert (rows["trustworthiness"] > 0.85).all()
    key = "dac.layer_2.trustworthiness"
    assert report.metrics[key] == pytest.approx(rows["trustworthiness"].iloc[2], rel=1e-8)
