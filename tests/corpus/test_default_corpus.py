import re
from collections import Counter
from pathlib import Path

import pocketsphinx
import pytest

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.espeak import EspeakSpeech
from phonoscope.corpus.items import RawItem
from phonoscope.corpus.registry import open_source
from phonoscope.corpus.sources.espeak import read_speakers
from phonoscope.corpus.tables import read_lines

ROOT = Path(__file__).parents[2] / "corpora" / "espeak"
ARPABET = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"


@pytest.fixture(scope="module")
def pronunciations() -> dict[str, list[str]]:
    path = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    entries = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {entry[0]: entry[1:] for entry in entries}


@pytest.fixture(scope="module")
def items() -> list[RawItem]:
    return [item for item in open_source(CorpusConfig(root=str(ROOT))) if isinstance(item, RawItem)]


def phones(texts: list[str], pronunciations: dict[str, list[str]]) -> Counter[str]:
    """Phones of all words; a word the dictionary lacks is a KeyError, as the aligner could not use it."""
    return Counter(p for text in texts for word in re.findall(r"[a-z']+", text.lower()) for p in pronunciations[word])


def test_sentences_differ_and_hold_every_phone_twenty_times_and_their_readings_more_often(
    items: list[RawItem], pronunciations: dict[str, list[str]]
) -> None:
    sentences = read_lines(ROOT / "sentences.txt")
    assert len({line.casefold() for line in sentences}) == len(sentences)
    counts = phones(sentences, pronunciations)
    assert sorted(counts) == ARPABET.split()
    assert min(counts.values()) >= 20
    assert min(phones([item.text for item in items if not item.word], pronunciations).values()) >= 40


def test_words_are_digits_and_yes_and_no_and_speakers_cover_accents_and_sexes() -> None:
    digits = "zero one two three four five six seven eight nine"
    assert read_lines(ROOT / "words.txt") == [*digits.split(), "yes", "no"]
    speakers = read_speakers(ROOT / "speakers.csv")
    assert len(speakers) >= 12
    assert {speaker.accent for speaker in speakers} == {"en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-scotland", "en-029"}
    assert Counter(speaker.sex for speaker in speakers).keys() == {"F", "M"}
    assert len({(speaker.voice, speaker.pitch) for speaker in speakers}) == len(speakers)
    assert len({speaker.name for speaker in speakers}) == len(speakers)


def test_every_speaker_can_be_heard(items: list[RawItem]) -> None:
    """One word of each voice: the voices exist and differ."""
    said = [item.audio for item in items if item.utterance.endswith("words-nine_1")]
    clips = [audio.load().samples.tobytes() for audio in said if isinstance(audio, EspeakSpeech)]
    assert len(set(clips)) == len(clips) == 13
