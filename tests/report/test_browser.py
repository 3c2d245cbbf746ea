from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.pipeline.browse import run
from phonoscope.report.browser.page import Tables, page_data, script

from .planted_features import CAUSAL, PARAMS, SITE, interpreted, write_interpretation

NOTES = {"scores": {"phones": 3.0}, "skipped": {}}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return interpreted()


@pytest.fixture(scope="module")
def data(tables: Tables) -> dict[str, Any]:
    return page_data(SITE, tables, NOTES, 1.0, 0.02)


def test_every_feature_has_its_row_in_every_column(tables: Tables, data: dict[str, Any]) -> None:
    count = len(tables["features"])
    assert {len(column) for column in data["features"].values()} == {count}
    assert len(data["windows"]) == len(data["loud_words"]) == count
    assert data["features"]["auroc"] == pytest.approx(tables["features"]["auroc"].tolist(), rel=1e-3)
    for kind in ("phone", "sex", "accent"):
        groups, values = data["means"][kind]["groups"], data["means"][kind]["values"]
        row = tables["means"].query("kind == @kind and feature == 1").set_index("group")["mean"]
        assert values[1] == pytest.approx([row[name] for name in groups], rel=1e-3)


def test_windows_name_their_utterance_phone_and_word(tables: Tables, data: dict[str, Any]) -> None:
    for feature in range(len(tables["features"])):
        expected = tables["windows"][tables["windows"]["feature"] == feature]
        assert len(data["windows"][feature]) == len(expected)
        pairs = zip(data["windows"][feature], expected.itertuples(), strict=True)
        for (utterance, frame, value, phone, word), row in pairs:
            assert data["utterances"][utterance][:2] == [row.utterance, row.speaker]
            assert (frame, data["phones"][phone], data["words"][word]) == (row.frame, row.phone, row.word)
            assert value == pytest.approx(row.value, rel=1e-3)


def test_causal_effects_stand_at_their_features_only(data: dict[str, Any]) -> None:
    columns = data["features"]
    assert [row for row, effect in enumerate(columns["difference"]) if effect is not None] == CAUSAL["feature"].tolist()
    assert columns["causal"][:3] == [True, False, None]


def test_traces_are_given_for_features_with_clips(data: dict[str, Any]) -> None:
    assert sorted(data["traces"]) == ["0", "1"]
    assert {len(trace) for traces in data["traces"].values() for trace in traces} == {51}


def test_words_are_ordered_by_mean_and_silent_ones_left_out(tables: Tables, data: dict[str, Any]) -> None:
    means = tables["means"].query("kind == 'word' and feature == 0 and mean > 0")
    expected = means.sort_values("mean", ascending=False)["group"].tolist()
    assert [word for word, _ in data["loud_words"][0]] == expected[:12]


def test_the_script_is_json_of_finite_numbers(data: dict[str, Any]) -> None:
    text = script(data)
    assert json.loads(text.removeprefix("const DATA = ").removesuffix(";\n")) == data
    assert text.isascii()
    with pytest.raises(ValueError, match="JSON"):
        script({**data, "clip_s": np.nan})


def test_without_words_sexes_or_causal_tests_the_page_is_made_all_the_same(tables: Tables) -> None:
    means = tables["means"][tables["means"]["kind"] == "phone"]
    bare = {**tables, "means": means, "causal": pd.DataFrame(columns=CAUSAL.columns)}
    data = page_data(SITE, bare, NOTES, 1.0, 0.02)
    assert data["means"]["sex"] == {"groups": [], "values": [[]] * len(tables["features"])}
    assert set(data["features"]["causal"]) == {None}


def written() -> dict[str, bytes]:
    folder = paths.browser(SITE)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_stage_writes_a_page_that_needs_nothing_else_and_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_interpretation()
    report = run(PARAMS, SITE)
    files = written()
    assert {"index.html", "browse.js", "browse.css", "data.js"} < set(files)
    for feature in ("00000", "00001"):
        assert {f"clips/{feature}/{name}" for name in ("01.flac", "04.flac", "spectrograms.png")} < set(files)
    assert report.metrics["features_with_clips"] == 2
    assert report.metrics["megabytes"] == pytest.approx(sum(map(len, files.values())) / 1e6)
    run(PARAMS, SITE)
    assert written() == files
