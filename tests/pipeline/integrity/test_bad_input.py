"""The zoo: every bad input through the real command line. What is sick is named, what is sound goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.alignment.textgrid import read_textgrid
from phonoscope.corpus.espeak import synthesize
from phonoscope.corpus.items import slug
from tests.commandline import phonoscope
from tests.corpus.trees import put, tone
from tests.pipeline.integrity import zoo


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rejected(table: Path = paths.REJECTED) -> dict[str, str]:
    """The reason by path."""
    rows = pd.read_csv(table)
    return dict(zip(rows["path"], rows["reason"], strict=True))


def test_bad_sound_files_are_listed_and_unusual_ones_are_taken(here: Path) -> None:
    zoo.project(here)
    makers: dict[str, zoo.Maker] = dict.fromkeys(zoo.GOOD, put)
    zoo.speech(here, makers | {name: make for name, (make, _) in (zoo.UNUSUAL | zoo.BAD).items()})
    assert phonoscope("corpus") == (0, "", "")
    reasons = rejected()
    assert {name: said for name, (_, said) in zoo.BAD.items() if said not in reasons[name]} == {}
    manifest = pd.read_parquet(paths.MANIFEST).set_index("utterance")
    assert len(manifest) == len(zoo.GOOD) + len(zoo.UNUSUAL)
    known = {"żółw – 中文/ü b.wav": "żółw_中文_ü_b", "two\nlines.wav": "two_lines", "5.1.wav": "5_1"}
    for name, (_, rate) in zoo.UNUSUAL.items():
        row = manifest.loc[f"ann-0-{known.get(name, Path(name).stem.replace(' ', '_').replace('.', '_'))}"]
        assert row["sample_rate"] == rate, name
        assert row["duration_s"] == pytest.approx(0.3, abs=0.06), name  # an MP3 has whole frames


@pytest.mark.parametrize("name", ["empty.wav", "gone.wav", "silent.wav"])
def test_a_bad_sound_file_stops_a_corpus_that_may_have_none(here: Path, name: str) -> None:
    zoo.project(here, corpus__max_rejected=0.0)
    zoo.speech(here, {zoo.GOOD[0]: put, name: zoo.BAD[name][0]})
    line = phonoscope("corpus").refusal(4)
    assert all(part in line for part in (f"{name}: ", zoo.BAD[name][1], "corpus.max_rejected")), line
    assert not any(Path("data").iterdir())


def test_rows_that_are_no_utterance_are_listed_and_the_rest_goes_on(here: Path) -> None:
    zoo.project(here)
    zoo.speech(here, dict.fromkeys([*zoo.GOOD, "good_1.wav"], put))
    zoo.metadata(here, ["file", "speaker"], [*([good, "ann"] for good in zoo.GOOD), *(row for row, _ in zoo.ROWS)])
    assert phonoscope("corpus").code == 0
    assert len(pd.read_parquet(paths.MANIFEST)) == len(zoo.GOOD)
    reasons = rejected()
    assert len(reasons) == len(zoo.ROWS)
    assert all(said in reasons[path] for (path, _), said in zoo.ROWS)


def test_an_id_with_a_line_break_or_nul_makes_a_plain_file_name_and_a_byte_order_mark_none(here: Path) -> None:
    zoo.project(here)
    zoo.speech(here, {"a\nb.wav": put, zoo.GOOD[0]: put}, speaker="../ann\n\t")
    assert phonoscope("corpus").code == 0
    assert sorted(pd.read_parquet(paths.MANIFEST)["path"]) == ["ann/0/ann-0-a_b.flac", "ann/0/ann-0-good_1.flac"]
    (here / "speech/metadata.csv").write_bytes(b"\xef\xbb\xbffile,speaker\ngood 1.wav,ann\na\0b.wav,ann\n")
    assert phonoscope("corpus").code == 0
    assert list(rejected().values()) == ["no such audio file"]


def test_links_are_followed_and_a_loop_of_them_ends(here: Path) -> None:
    """A link out of the root is the owner's own; what it points to is copied into the corpus."""
    zoo.project(here)
    put(here / "elsewhere.wav")
    makers: dict[str, zoo.Maker] = {zoo.GOOD[0]: put, "out.wav": lambda path: path.symlink_to(here / "elsewhere.wav")}
    (here / "speech/loop").symlink_to(".")
    zoo.speech(here, {**makers, f"loop/loop/{zoo.GOOD[0]}": put})
    assert phonoscope("corpus").code == 0
    assert len(pd.read_parquet(paths.MANIFEST)) == 3
    assert not [path for path in paths.CORPUS.rglob("*") if path.is_symlink()]
    (here / "grids/loop").symlink_to(".")
    zoo.textgrid(zoo.PHONES)(here / "grids/ann-0-good_1.TextGrid")
    zoo.project(here, alignment__method="given")
    assert phonoscope("align").code == 0
    assert len(rejected(paths.ALIGNMENTS / "rejected.csv")) == 2


def grids(folder: Path, makers: dict[str, zoo.Maker]) -> None:
    """A sound file and a TextGrid of each name, and the corpus of them."""
    zoo.speech(folder, {f"{name}.wav": put for name in makers})
    for name, make in makers.items():
        make(folder / f"grids/ann-0-{slug(name)}.TextGrid")
    assert phonoscope("corpus") == (0, "", "")


def test_bad_textgrids_are_listed_and_unusual_ones_are_read(here: Path) -> None:
    zoo.project(here, alignment__method="given")
    grids(here, zoo.READ_GRIDS | {name: make for name, (make, _) in zoo.GRIDS.items()})
    assert phonoscope("align") == (0, "", "")
    reasons = rejected(paths.ALIGNMENTS / "rejected.csv")
    assert len(reasons) == len(zoo.GRIDS)
    for name, (_, said) in zoo.GRIDS.items():
        assert said in reasons[f"ann/0/ann-0-{slug(name)}.flac"]
    for name in zoo.READ_GRIDS:
        alignment = read_textgrid(paths.ALIGNMENTS / f"ann/0/ann-0-{slug(name)}.TextGrid")
        assert [phone.label for phone in alignment.phones] == ["SIL", "HH", "AH"], name


@pytest.mark.parametrize("method", ["given", "auto"])
def test_a_bad_textgrid_stops_a_corpus_that_may_have_none(here: Path, method: str) -> None:
    zoo.project(here, alignment__method=method)
    grids(here, {"utf-16": zoo.READ_GRIDS["utf-16"], "reversed": zoo.GRIDS["reversed"][0]})
    zoo.project(here, alignment__method=method, corpus__max_rejected=0.0)
    line = phonoscope("align").refusal(4)
    assert "ann/0/ann-0-reversed.flac: grids/ann-0-reversed.TextGrid: " in line
    assert "corpus.max_rejected" in line
    assert [path.name for path in Path("data").iterdir()] == ["corpus"]


def test_a_transcript_that_nothing_can_be_aligned_to_is_listed(here: Path) -> None:
    zoo.project(here, alignment__method="forced")
    spoken = synthesize("seven", "en-us+f2")
    say = zoo.samples(spoken.samples, spoken.sample_rate)
    zoo.speech(
        here,
        {f"{name}.wav": say for name in ["good", *zoo.TEXTS]},
        ["Seven!", *(text for text, _ in zoo.TEXTS.values())],
    )
    assert phonoscope("corpus").code == 0
    assert phonoscope("align").code == 0
    reasons = rejected(paths.ALIGNMENTS / "rejected.csv")
    assert {name: reason in reasons[f"ann/0/ann-0-{slug(name)}.flac"] for name, (_, reason) in zoo.TEXTS.items()} == (
        dict.fromkeys(zoo.TEXTS, True)
    )
    assert len(reasons) == len(zoo.TEXTS)


@pytest.mark.parametrize("speaker", ["bob", "ann"], ids=["a speaker with one utterance", "one speaker"])
def test_few_speakers_are_split(here: Path, speaker: str) -> None:
    zoo.project(here)
    recordings = {f"{name}.wav": zoo.samples(tone(hz=hz)) for name, hz in zip("abc", (200, 300, 400), strict=True)}
    zoo.speech(here, recordings)
    zoo.metadata(here, ["file", "speaker"], [["a.wav", "ann"], ["b.wav", "ann"], ["c.wav", speaker]])
    assert phonoscope("corpus").code == 0
    assert phonoscope("split").code == 0
    split = json.loads(paths.SPLIT.read_text())
    assert len(split["eval"]) == 1
    assert set(split["eval"]) <= {"ann-0-a", "ann-0-b", "ann-0-c"}
    assert split["speaker_folds"] == [[speaker] for fold in split["speaker_folds"] for speaker in fold]


@pytest.mark.parametrize("name", zoo.PARAMS)
def test_bad_parameters_are_named(here: Path, name: str) -> None:
    (here / paths.PARAMS).write_text(zoo.PARAMS[name][0])
    line = phonoscope("split").refusal(2)
    assert all(part in line for part in zoo.PARAMS[name][1]), line
    assert [path.name for path in here.iterdir()] == ["params.yaml"]
