"""The zoo: every bad input through the real command line. What is sick is named, what is sound goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.alignment.textgrid import read_textgrid
from phonoscope.corpus.espeak import synthesize
from phonoscope.corpus.items import slug
from tests.commandline import phonoscope
from tests.corpus.trees import librispeech, put
from tests.pipeline.integrity.zoo import (
    BAD,
    GOOD,
    GRIDS,
    PARAMS,
    PHONES,
    READ_GRIDS,
    ROWS,
    TABLES,
    TEXTS,
    UNUSUAL,
    Maker,
    metadata,
    project,
    samples,
    speech,
    textgrid,
)
from tests.probes.planted import make_corpus


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rejected(table: Path = paths.REJECTED) -> dict[str, str]:
    """The reason by path."""
    rows = pd.read_csv(table)
    return dict(zip(rows["path"], rows["reason"], strict=True))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A corpus of good, unusual and bad files, after stage corpus."""
    folder = tmp_path_factory.mktemp("mixed")
    with chdir(folder):
        project(folder)
        makers: dict[str, Maker] = dict.fromkeys(GOOD, put)
        speech(folder, makers | {name: make for name, (make, _) in (UNUSUAL | BAD).items()})
        assert phonoscope("corpus") == (0, "", "")
        yield folder


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sound_file_is_listed_and_the_rest_goes_on(mixed: Path, name: str) -> None:
    assert BAD[name][1] in rejected(mixed / paths.REJECTED)[name]
    assert len(pd.read_parquet(mixed / paths.MANIFEST)) == len(GOOD) + len(UNUSUAL)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sound_file_stops_a_corpus_that_may_have_none(here: Path, name: str) -> None:
    project(here, corpus__max_rejected=0.0)
    speech(here, {GOOD[0]: put, name: BAD[name][0]})
    line = phonoscope("corpus").refusal(4)
    assert f"{name}: " in line
    assert BAD[name][1] in line
    assert "corpus.max_rejected" in line
    assert not any(Path("data").iterdir())


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_sound_file_is_taken(mixed: Path, name: str) -> None:
    manifest = pd.read_parquet(mixed / paths.MANIFEST).set_index("utterance")
    known = {"żółw – 中文/ü b.wav": "ann-0-żółw_中文_ü_b", "two\nlines.wav": "ann-0-two_lines", "5.1.wav": "ann-0-5_1"}
    row = manifest.loc[known.get(name, f"ann-0-{Path(name).stem.replace(' ', '_').replace('.', '_')}")]
    assert row["sample_rate"] == UNUSUAL[name][1]
    assert row["duration_s"] == pytest.approx(0.3, abs=0.06)  # an MP3 has whole frames


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_is_no_utterance_is_listed_and_the_rest_goes_on(here: Path, name: str) -> None:
    row, reason = ROWS[name]
    project(here)
    speech(here, dict.fromkeys([*GOOD, "good_1.wav"], put))
    metadata(here, ["file", "speaker"], [*([good, "ann"] for good in GOOD), row])
    assert phonoscope("corpus").code == 0
    assert len(pd.read_parquet(paths.MANIFEST)) == len(GOOD)
    assert [(path, reason in said) for path, said in rejected().items()] == [(row[0], True)]


def test_an_id_with_a_line_break_or_nul_makes_a_plain_file_name(here: Path) -> None:
    project(here)
    speech(here, {"a\nb.wav": put, GOOD[0]: put}, speaker="../ann\n\t")
    assert phonoscope("corpus").code == 0
    assert sorted(pd.read_parquet(paths.MANIFEST)["path"]) == ["ann/0/ann-0-a_b.flac", "ann/0/ann-0-good_1.flac"]
    (here / "speech/metadata.csv").write_bytes(b"file,speaker\ngood 1.wav,ann\na\0b.wav,ann\n")
    assert phonoscope("corpus").code == 0
    assert list(rejected().values()) == ["no such audio file"]


def test_a_corpus_names_an_unsafe_folder(here: Path) -> None:
    project(here, corpus__source="librispeech")
    librispeech(here / "speech")
    (here / "speech/dev-clean/84/122").rename(here / "speech/dev-clean/84/12 2")
    assert phonoscope("corpus").code == 0
    assert set(rejected().values()) == {"unsafe id '12 2': letters, digits and _ . + = - only, no '..'"}


@pytest.mark.parametrize("name", ["SPEAKERS.TXT", "dev-clean/84/121/84-121.trans.txt"])
def test_a_text_that_is_not_utf_8_is_named(here: Path, name: str) -> None:
    project(here, corpus__source="librispeech")
    path = librispeech(here / "speech") / name
    path.write_bytes(path.read_bytes() + b"\xff\xfe")
    assert f"{name}: not readable as UTF-8 text" in phonoscope("corpus").refusal(4)


def test_links_are_followed_and_a_loop_of_them_ends(here: Path) -> None:
    """A link out of the root is the owner's own; what it points to is copied into the corpus."""
    project(here)
    put(here / "elsewhere.wav")
    makers: dict[str, Maker] = {GOOD[0]: put, "out.wav": lambda path: path.symlink_to(here / "elsewhere.wav")}
    (here / "speech/loop").symlink_to(".")
    speech(here, {**makers, f"loop/loop/{GOOD[0]}": put})
    assert phonoscope("corpus").code == 0
    assert len(pd.read_parquet(paths.MANIFEST)) == 3
    assert not [path for path in paths.CORPUS.rglob("*") if path.is_symlink()]
    (here / "grids/loop").symlink_to(".")
    textgrid(PHONES)(here / "grids/ann-0-good_1.TextGrid")
    project(here, alignment__method="given")
    assert phonoscope("align").code == 0
    assert len(rejected(paths.ALIGNMENTS / "rejected.csv")) == 2


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_none_is_named(here: Path, name: str) -> None:
    project(here)
    speech(here, dict.fromkeys(GOOD, put))
    (here / "speech/metadata.csv").write_bytes(TABLES[name][0])
    line = phonoscope("corpus").refusal(4)
    assert TABLES[name][1] in line
    assert "metadata.csv" in line or name == "header only"


def test_a_table_with_a_byte_order_mark_is_read(here: Path) -> None:
    project(here)
    speech(here, dict.fromkeys(GOOD, put))
    table = here / "speech/metadata.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert phonoscope("corpus") == (0, "", "")


def grids(folder: Path, makers: dict[str, Maker]) -> None:
    """A sound file and a TextGrid of each name, and the corpus of them."""
    speech(folder, {f"{name}.wav": put for name in makers})
    for name, make in makers.items():
        make(folder / f"grids/ann-0-{slug(name)}.TextGrid")
    assert phonoscope("corpus") == (0, "", "")


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """TextGrids of every kind, after stage align."""
    folder = tmp_path_factory.mktemp("aligned")
    with chdir(folder):
        project(folder, alignment__method="given")
        grids(folder, READ_GRIDS | {name: make for name, (make, _) in GRIDS.items()})
        assert phonoscope("align") == (0, "", "")
        yield folder


@pytest.mark.parametrize("name", GRIDS)
def test_a_bad_textgrid_is_listed_and_the_rest_goes_on(aligned: Path, name: str) -> None:
    reasons = rejected(aligned / paths.ALIGNMENTS / "rejected.csv")
    assert GRIDS[name][1] in reasons[f"ann/0/ann-0-{slug(name)}.flac"]
    assert len(reasons) == len(GRIDS)


@pytest.mark.parametrize("name", READ_GRIDS)
def test_an_unusual_textgrid_is_read(aligned: Path, name: str) -> None:
    alignment = read_textgrid(aligned / paths.ALIGNMENTS / f"ann/0/ann-0-{slug(name)}.TextGrid")
    assert [phone.label for phone in alignment.phones] == ["SIL", "HH", "AH"]


@pytest.mark.parametrize("method", ["given", "auto"])
def test_a_bad_textgrid_stops_a_corpus_that_may_have_none(here: Path, method: str) -> None:
    project(here, alignment__method=method)
    grids(here, {"utf-16": READ_GRIDS["utf-16"], "reversed": GRIDS["reversed"][0]})
    project(here, alignment__method=method, corpus__max_rejected=0.0)
    line = phonoscope("align").refusal(4)
    assert "ann/0/ann-0-reversed.flac: grids/ann-0-reversed.TextGrid: " in line
    assert "corpus.max_rejected" in line
    assert [path.name for path in Path("data").iterdir()] == ["corpus"]


def test_a_transcript_that_nothing_can_be_aligned_to_is_listed(here: Path) -> None:
    project(here, alignment__method="forced")
    spoken = synthesize("seven", "en-us+f2")
    say = samples(spoken.samples, spoken.sample_rate)
    speech(here, {f"{name}.wav": say for name in ["good", *TEXTS]}, ["Seven!", *(text for text, _ in TEXTS.values())])
    assert phonoscope("corpus").code == 0
    assert phonoscope("align").code == 0
    reasons = rejected(paths.ALIGNMENTS / "rejected.csv")
    assert {name: reason in reasons[f"ann/0/ann-0-{slug(name)}.flac"] for name, (_, reason) in TEXTS.items()} == (
        dict.fromkeys(TEXTS, True)
    )
    assert len(reasons) == len(TEXTS)


@pytest.mark.parametrize("speaker", ["bob", "ann"], ids=["a speaker with one utterance", "one speaker"])
def test_few_speakers_are_split(here: Path, speaker: str) -> None:
    project(here)
    speech(here, dict.fromkeys(["a.wav", "b.wav", "c.wav"], put))
    metadata(here, ["file", "speaker"], [["a.wav", "ann"], ["b.wav", "ann"], ["c.wav", speaker]])
    assert phonoscope("corpus").code == 0
    assert phonoscope("split").code == 0
    split = json.loads(paths.SPLIT.read_text())
    assert len(split["eval"]) == 1
    assert set(split["eval"]) <= {"ann-0-a", "ann-0-b", "ann-0-c"}
    assert split["speaker_folds"] == [[speaker] for fold in split["speaker_folds"] for speaker in fold]


def test_one_utterance_cannot_be_split(here: Path) -> None:
    project(here)
    speech(here, {GOOD[0]: put})
    assert phonoscope("corpus").code == 0
    line = phonoscope("split").refusal(4)
    assert "1 train and 0 eval utterances; use a corpus with several utterances per speaker" in line


def test_of_one_speaker_everything_but_the_speaker_is_probed(here: Path) -> None:
    project(here, probe__bootstrap={"samples": 20})
    corpus = make_corpus(np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32))
    replace(corpus, speakers=dict.fromkeys(corpus.utterances, "ann")).checkout("dac")
    seen = phonoscope("probe", "dac")
    assert seen.code == 0
    assert "speaker" in seen.err
    assert set(pd.read_csv(paths.probe_metrics("dac"))["task"]) == {"phone", "pitch"}


@pytest.mark.parametrize("name", PARAMS)
def test_bad_parameters_are_named(here: Path, name: str) -> None:
    (here / paths.PARAMS).write_text(PARAMS[name][0])
    line = phonoscope("split").refusal(2)
    assert all(part in line for part in PARAMS[name][1]), line
    assert [path.name for path in here.iterdir()] == ["params.yaml"]
