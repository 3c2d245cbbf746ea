from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from phonoscope import paths
from phonoscope.config.params import Params, load_params
from phonoscope.data import Codebooks
from phonoscope.data.latents import mean_latent_table
from phonoscope.errors import DataError, NotApplicable
from phonoscope.geometry import study
from phonoscope.geometry.study import AXES, CLIP_COLUMNS, COLUMNS, COORDINATE_COLUMNS
from phonoscope.pipeline.base import StageReport
from phonoscope.pipeline.geometry import run
from phonoscope.report.summary import geometry_headline

from .planted import BRIEF, affine_codebooks, make_tokens, plain_codebooks, said

Ran = tuple[StageReport, pd.DataFrame, pd.DataFrame, pd.DataFrame]
PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def params() -> Params:
    loaded = load_params(PARAMS)
    compute = loaded.compute.model_copy(update={"workers": 1})
    return loaded.model_copy(update={"geometry": BRIEF, "compute": compute})


def write_codec(codec: str, books: Codebooks) -> None:
    clips, codes = said()
    rng = np.random.default_rng(0)
    make_tokens(codes).save(paths.tokens(codec))
    latents = {name: rng.normal(size=(5, 9)).astype(np.float32).T for name in reversed(codes)}
    pq.write_table(mean_latent_table(latents), paths.latents(codec))
    books.save(paths.codebooks(codec))
    sentence = pd.DataFrame([("long", "", "s0", "F", "en")], columns=clips.columns)
    paths.MANIFEST.parent.mkdir(parents=True, exist_ok=True)
    pd.concat([clips, sentence]).to_parquet(paths.MANIFEST)


def read(codec: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rows = pd.read_csv(paths.geometry_metrics(codec))
    texts = {name: rows[name].astype(object).fillna("") for name in ("same_as", "label", "against")}
    clips, points = (pd.read_parquet(paths.geometry(codec) / f"{name}.parquet") for name in ("clips", "coordinates"))
    return rows.assign(**texts), clips, points


def run_in(folder: Path, codec: str, books: Codebooks, params: Params) -> Ran:
    """The stage's report, scores, clips and coordinates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_codec(codec, books)
        return run(params, codec), *read(codec)


@pytest.fixture(scope="module")
def dac(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Ran:
    return run_in(tmp_path_factory.mktemp("dac"), "dac", affine_codebooks(), params)


@pytest.fixture(scope="module")
def encodec(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Ran:
    return run_in(tmp_path_factory.mktemp("encodec"), "encodec", plain_codebooks(), params)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_codec("dac", affine_codebooks())
    return tmp_path


def test_stage_writes_the_contract(dac: Ran) -> None:
    report, rows, clips, coordinates = dac
    assert tuple(rows.columns) == COLUMNS
    assert tuple(clips.columns) == CLIP_COLUMNS
    assert tuple(coordinates.columns) == COORDINATE_COLUMNS
    assert np.isfinite(rows["value"]).all()
    assert clips.groupby("view").size().to_dict() == {"full": 24, "notebook": 8}
    assert (clips["frames"] == 12).all()

    full = rows[(rows["space"] == "full") & (rows["against"] == "")]
    names = ["codes_mean", "codes_concat", "latent_sum", "projections_concat", "latent"]
    names += ["layer_1", "layer_2", "layer_3", "histogram"]
    assert full["representation"].unique().tolist() == names
    assert (rows["same_as"] == "").all()
    cells = full.groupby(["view", "representation"])[["label", "metric"]].agg(list)
    assert set(cells["metric"].map(len)) == {18}
    assert full.loc[full["metric"] == "separation", "p_value"].notna().all()
    assert full.loc[full["metric"] != "separation", "p_value"].isna().all()
    dims = rows.groupby("representation")["dims"].first().to_dict()
    assert dims == dict(zip(names, [2, 6, 12, 36, 5, 12, 12, 12, 48], strict=True))

    by_word = full[(full["view"] == "full") & full["label"].isin(["", "word"])]
    found: Any = by_word.pivot_table(index="representation", columns="metric", values="value").to_dict("index")
    joined = found["projections_concat"]
    assert (joined["rank"], joined["rank_bound"]) == (6, 6)  # 3 layers x 2 dimensions, of 36
    assert found["latent_sum"]["rank"] == 6
    assert found["layer_1"]["rank"] == 2
    assert all(each["rank"] <= each["rank_bound"] for each in found.values())
    assert joined["probe_accuracy"] > joined["chance"] == pytest.approx(1 / 3)

    assert sorted(coordinates["representation"].unique()) == sorted(names[:4])
    drawn = coordinates.dropna()
    assert len(drawn) == 3 * 32  # codes_mean has two dimensions: no third axis
    assert drawn.select_dtypes("float32").columns.tolist() == list(AXES)
    assert report.metrics["full.codes_concat.silhouette"] == pytest.approx(found["codes_concat"]["silhouette"])
    assert len(report.by_layer["notebook.layers.silhouette"]) == 3


def test_differences_are_paired(dac: Ran) -> None:
    _, rows, _, _ = dac
    plain = rows[(rows["space"] == "full") & (rows["against"] == "")]
    values = plain.set_index(["view", "representation", "label", "metric"])["value"]
    paired = rows[rows["against"] != ""]
    assert set(zip(paired["representation"], paired["against"], strict=True)) == set(study.PAIRS)
    assert len(paired) == 2 * 3 * 5
    for row in paired.to_dict("records"):
        metric = row["metric"].removesuffix("_difference")
        pair = (row["representation"], row["against"])
        ours, theirs = (values[row["view"], name, row["label"], metric] for name in pair)
        assert row["value"] == pytest.approx(ours - theirs, abs=1e-7)
        assert row["ci_low"] <= row["value"] <= row["ci_high"]


def test_coinciding_representations_repeat_their_rows_and_say_so(encodec: Ran) -> None:
    _, rows, _, coordinates = encodec
    same = rows[rows["same_as"] != ""].groupby("representation")["same_as"].unique().map(list).to_dict()
    assert same == {"latent_sum": ["codes_mean"], "projections_concat": ["codes_concat"]}
    columns = ["view", "space", "label", "metric", "value", "n"]
    plain = rows[rows["against"] == ""]
    alias, source = (plain.loc[plain["representation"] == name, columns] for name in ("latent_sum", "codes_mean"))
    pd.testing.assert_frame_equal(alias.reset_index(drop=True), source.reset_index(drop=True))
    assert set(coordinates["representation"]) == {"codes_mean", "codes_concat"}
    pairs = rows.loc[rows["against"] != "", ["representation", "against"]].drop_duplicates()
    assert len(pairs) == 2  # projections_concat is codes_concat: nothing to compare


def test_headline_is_the_default_view_in_the_full_space(encodec: Ran) -> None:
    _, rows, _, _ = encodec
    headline = geometry_headline(rows)
    assert list(headline) == [*BRIEF.representations[:5], "histogram"]
    row = rows[(rows["view"] == "notebook") & (rows["representation"] == "latent") & (rows["space"] == "full")]
    row = row[(row["label"] == "word") & (row["metric"] == "davies_bouldin")]
    assert headline["latent"]["davies_bouldin_word"] == row["value"].item()
    assert headline["latent"].keys() == {"silhouette_word", "davies_bouldin_word"}


def test_a_corpus_without_isolated_words_is_not_applicable(checkout: Path, params: Params) -> None:
    pd.read_parquet(paths.MANIFEST).assign(word="").to_parquet(paths.MANIFEST)
    with pytest.raises(NotApplicable, match="fewer than two isolated words"):
        run(params, "dac")


def test_one_speaker_and_one_sex_are_a_logged_reduction(
    checkout: Path, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    pd.read_parquet(paths.MANIFEST).assign(speaker="s0", sex="F").to_parquet(paths.MANIFEST)
    run(params, "dac")
    assert "no scores by speaker: view full, speaker: two values with two clips each are needed" in caplog.text
    assert "view full, codes_mean: retrieval: no word is said by two speakers" in caplog.text
    rows, _, _ = read("dac")
    assert set(rows["label"]) == {"", "word"}
    assert "map_at_r" not in set(rows["metric"])
    assert rows.loc[rows["metric"] != "silhouette_null", "ci_low"].isna().all()


@pytest.mark.parametrize("missing", [paths.MANIFEST, paths.tokens("dac"), paths.codebooks("dac"), paths.latents("dac")])
def test_a_missing_input_is_named(checkout: Path, params: Params, missing: Path) -> None:
    missing.unlink()
    with pytest.raises(DataError, match=rf"{missing}: no such"):
        run(params, "dac")
    assert not paths.geometry_metrics("dac").exists()


def test_clips_beyond_memory_are_sampled(
    checkout: Path, params: Params, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    width = 2 + 6 + 7 + 7 + 3 * 3  # the four compact representations, and three layers alone
    monkeypatch.setattr(study, "MOST_NUMBERS", 24 * width - 1)
    config = BRIEF.model_copy(update={"max_quadratic_clips": 15, "projections": ()})
    run(params.model_copy(update={"geometry": config}), "dac")
    assert f"15 of 24 clips are taken: a clip's vectors are {width} numbers" in caplog.text
    _, clips, coordinates = read("dac")
    assert clips[clips["view"] == "full"].groupby("word").size().to_dict() == {"no": 5, "one": 5, "yes": 5}
    assert coordinates.empty
