from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.espeak import EspeakSpeech
from phonoscope.corpus.items import RawItem, Rejected
from phonoscope.corpus.piper import NeuralSpeech
from phonoscope.corpus.registry import open_source, source_names
from phonoscope.corpus.sources.espeak import deal
from phonoscope.errors import DataError, ParamsError
from tests.corpus import trees


def read(source: str, root: Path, **options: object) -> tuple[dict[str, RawItem], list[Rejected]]:
    found = list(open_source(CorpusConfig.model_validate({"source": source, "root": str(root), **options})))
    items = {item.utterance: item for item in found if isinstance(item, RawItem)}
    return items, [item for item in found if isinstance(item, Rejected)]


@pytest.mark.parametrize("source", source_names())
def test_a_missing_root_and_a_folder_of_another_layout_are_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"root: .*nowhere"):
        read(source, tmp_path / "nowhere")
    with pytest.raises(DataError, match=str(tmp_path)):
        read(source, tmp_path)


def test_fsdd(tmp_path: Path) -> None:
    trees.fsdd(tmp_path / "recordings")
    trees.put(tmp_path / "recordings" / "strange.wav")
    items, rejected = read("fsdd", tmp_path)
    assert len(items) == 40
    item = items["lucas-7-03"]
    assert (item.speaker, item.chapter, item.sex, item.accent) == ("lucas", "7", "M", "german")
    assert (item.text, item.word, item.split) == ("seven", "seven", "eval")
    assert items["lucas-7-05"].split == "train"
    assert [entry.path for entry in rejected] == ["recordings/strange.wav"]


def test_librispeech(tmp_path: Path) -> None:
    root = trees.librispeech(tmp_path / "LibriSpeech")
    trees.put(root / "dev-clean" / "84" / "121" / "84-121-0009.flac")
    items, rejected = read("librispeech", root)
    assert sorted({item.speaker for item in items.values()}) == ["61", "84"]
    item = items["84-122-0001"]
    assert (item.text, item.sex, item.chapter) == ("SOME WORDS 1", "F", "122")
    assert items["61-70-0000"].sex == "M"
    assert [entry.path for entry in rejected] == ["dev-clean/84/121/84-121-0009.flac"]
    items, _ = read("librispeech", tmp_path, subset="test-clean")
    assert sorted(items) == ["61-70-0000", "61-70-0001"]
    with pytest.raises(ParamsError, match=r"no 'train-x'.*dev-clean, test-clean"):
        read("librispeech", tmp_path, subset="train-x")


def test_speech_commands(tmp_path: Path) -> None:
    root = tmp_path / "SpeechCommands" / "speech_commands_v0.02"
    for word in ("yes", "no", "_background_noise_"):
        for speaker in ("004ae714", "00f0204f"):
            trees.put(root / word / f"{speaker}_nohash_0.wav")
    trees.put(root / "no" / "odd.wav")
    (root / "testing_list.txt").write_text("yes/004ae714_nohash_0.wav\n")
    items, rejected = read("speech_commands", tmp_path)
    assert len(items) == 4
    assert items["004ae714-yes-0"].split == "eval"
    assert items["00f0204f-yes-0"].split == "train"
    assert [entry.path for entry in rejected] == ["no/odd.wav"]
    only, _ = read("speech_commands", tmp_path, words=["yes"])
    assert {item.word for item in only.values()} == {"yes"}
    with pytest.raises(ParamsError, match=r"words: no maybe"):
        read("speech_commands", tmp_path, words=["maybe"])


def test_common_voice(tmp_path: Path) -> None:
    rows = [
        ("a" * 128, "cv_1.mp3", 'He said "go', "female_feminine", "United States English,Boston"),
        ("b" * 128, "../cv_2.mp3", "Text.", "male", ""),
        ("b" * 128, "cv_3.mp3", "", "male", ""),
        ("b" * 128, "cv_4.mp3", "Yes.", "", "England English|Scottish"),
        ("b" * 128, "", "Yes.", "", ""),
    ]
    lines = ["client_id\tpath\tsentence\tgender\taccents", *("\t".join(row) for row in rows)]
    (tmp_path / "validated.tsv").write_text("\n".join(lines) + "\n")
    items, rejected = read("common_voice", tmp_path)
    item = items["aaaaaaaaaaaaaaaa-clips-cv_1"]
    assert (item.text, item.sex, item.accent) == ('He said "go', "F", "United States English")
    assert item.stratum == "F/United States English"
    assert items["bbbbbbbbbbbbbbbb-clips-cv_4"].accent == "England English"
    assert [entry.path for entry in rejected] == ["clips/../cv_2.mp3", "clips/cv_3.mp3", "clips/"]


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(
        "file,speaker,text,sex,word,split\n"
        "day 1/a.b.wav,Dr. Who,Hello there,male,,train\n"
        "x.wav,ann,yes,F,yes,eval\n"
        "../x.wav,ann,,,,\n"
        "/x.wav,ann,,,,\n"
        "y.wav,,,,,\n"
        "z.wav,ann,,,,test\n"
        ".,ann,,,,\n"
    )
    items, rejected = read("folder", tmp_path)
    assert sorted(items) == ["Dr_Who-0-day_1_a_b", "ann-0-x"]
    assert items["Dr_Who-0-day_1_a_b"].sex == "M"
    assert items["ann-0-x"].word == "yes"
    assert [entry.path for entry in rejected] == ["../x.wav", "/x.wav", "y.wav", "z.wav", "."]
    (tmp_path / "metadata.csv").write_text("path,speaker\na.wav,b\n")
    with pytest.raises(DataError, match=r"no column file; it has path, speaker"):
        read("folder", tmp_path)


@pytest.fixture
def synthetic(tmp_path: Path) -> Path:
    (tmp_path / "sentences.txt").write_text("One thing.\n\nTwo things.\nThree things.\n")
    (tmp_path / "words.txt").write_text("yes\nno\n")
    (tmp_path / "speakers.csv").write_text(
        "speaker,voice,sex,accent,pitch,rate\nann,en-us+f1,F,en-us,50,170\nbob,en-us,M,en-us,3,170\n"
    )
    return tmp_path


def test_synthetic(synthetic: Path) -> None:
    items, _ = read("espeak", synthetic, sentences_per_speaker=2, takes=3)
    assert len(items) == 3 * (2 + 2 * 3)
    assert {name for name in items if name.startswith("bob-words-no")} == {f"bob-words-no_{take}" for take in (1, 2, 3)}
    assert sum(isinstance(item.audio, NeuralSpeech) for item in items.values()) == 8
    spoken = [item.audio for item in items.values() if isinstance(item.audio, EspeakSpeech) and item.word]
    assert len({(request.rate_wpm, request.pitch) for request in spoken}) > 6
    assert all(0.84 * 170 < request.rate_wpm < 1.16 * 170 and 0 <= request.pitch <= 99 for request in spoken)


def test_synthetic_is_the_seeds(synthetic: Path) -> None:
    options = {"sentences_per_speaker": 2, "neural_voice": False}
    assert read("espeak", synthetic, **options) == read("espeak", synthetic, **options)
    assert read("espeak", synthetic, **options) != read("espeak", synthetic, seed=1, **options)


def test_synthetic_refuses_more_sentences_than_there_are_and_names_a_bad_row(synthetic: Path) -> None:
    with pytest.raises(ParamsError, match=r"sentences_per_speaker: 4.*has 3"):
        read("espeak", synthetic, sentences_per_speaker=4)
    with (synthetic / "speakers.csv").open("a") as file:
        file.write("eve,en-us,F,en-us,high,170\n")
    with pytest.raises(DataError, match=r"speakers\.csv:4: pitch and rate"):
        read("espeak", synthetic)


@given(st.integers(1, 60), st.integers(1, 20), st.data())
def test_deal_is_fair(sentences: int, speakers: int, data: st.DataObject) -> None:
    per_speaker = data.draw(st.integers(0, sentences))
    hands = deal(sentences, speakers, per_speaker, seed=0)
    assert all(len(set(hand)) == len(hand) for hand in hands)
    readings = [sum(number in hand for hand in hands) for number in range(sentences)]
    assert sum(readings) == speakers * per_speaker
    assert max(readings) - min(readings) <= 1
