from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.pipeline.browse import run
from phonoscope.report.browser.page import Interpreted, page_data, script

from .planted_features import CAUSAL, PARAMS, SITE, interpreted, write_interpretation


@pytest.fixture(scope="module")
def tables() -> Interpreted:
    return interpreted()


@pytest.fixture(scope="module")
def data(tables: Interpreted) -> dict[str, Any]:
    return page_data("encoder_3", tables, clip_s=1.0, frame_s=0.02)


def test_every_feature_has_its_row_in_every_column(tables: Interpreted, data: dict[str, Any]) -> None:
    count = len(tables.features)
    assert {len(column) for column in data["features"].values()} == {count}
    assert len(data["windows"]) == len(data["loud_words"]) == count
    assert data["features"]["auroc"] == pytest.approx(tables.features["auroc"].tolist(), rel=1e-3)
    for kind in ("phone", "sex", "accent"):
        groups, values = data["means"][kind]["groups"], data["means"][kind]["values"]
        row = tables.means.query("kind == @kind and feature == 1").set_index("group")["mean"]
        assert values[1] == pytest.approx([row[name] for name in groups], rel=1e-3)


def test_windows_name_their_utterance_phone_and_word(tables: Interpreted, data: dict[str, Any]) -> None:
    for feature in range(len(tables.features)):
        expected = tables.windows[tables.windows["feature"] == feature]
        assert len(data["windows"][feature]) == len(expected)
        for (utterance, frame, value, phone, word), row in zip(
            data["windows"][feature], expected.itertuples(), strict=True
        ):
            assert data["utterances"][utterance][:2] == [row.utterance, row.speaker]
            assert (frame, data["phones"][phone], data["words"][word]) == (row.frame, row.phone, row.word)
            assert value == pytest.approx(row.value, rel=1e-3)


def test_causal_effects_stand_at_their_features_only(data: dict[str, Any]) -> None:
    columns = data["features"]
    assert [row for row, effect in enumerate(columns["difference"]) if effect is not None] == CAUSAL["feature"].tolist()
    assert columns["causal"][0] is True
    assert columns["causal"][1] is False
    assert columns["causal"][2] is None


def test_traces_are_given_for_features_with_clips(data: dict[str, Any]) -> None:
    assert sorted(data["traces"]) == ["0", "1"]
    assert {len(trace) for traces in data["traces"].values() for trace in traces} == {51}


def test_words_are_ordered_by_mean_and_silent_ones_left_out(tables: Interpreted, data: dict[str, Any]) -> None:
    means = tables.means.query("kind == 'word' and feature == 0 and mean > 0")
    expected = means.sort_values("mean", ascending=False)["group"].tolist()
    assert [word for word, _ in data["loud_words"][0]] == expected[:12]


def test_the_script_is_json(data: dict[str, Any]) -> None:
    text = script(data)
    assert json.loads(text.removeprefix("const DATA = ").removesuffix(";\n")) == data
    assert text.isascii()


def test_a_number_that_is_not_finite_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        script({**data, "clip_s": np.nan})


def test_without_words_sexes_or_causal_tests_the_page_is_made_all_the_same(tables: Interpreted) -> None:
    means = tables.means[tables.means["kind"] == "phone"]
    nothing = pd.DataFrame(columns=CAUSAL.columns)
    bare = Interpreted(tables.features, tables.windows, means, tables.scores, {"effects by sex": "one sex"}, nothing)
    data = page_data("encoder_3", bare, clip_s=1.0, frame_s=0.02)
    assert data["means"]["sex"] == {"groups": [], "values": [[]] * len(tables.features)}
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
