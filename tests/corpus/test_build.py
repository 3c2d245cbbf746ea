import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.build import sample, screen, write_corpus
from phonoscope.corpus.espeak import EspeakSpeech
from phonoscope.corpus.items import AudioFile, RawItem, Rejected
from phonoscope.corpus.registry import open_source
from phonoscope.errors import DataError
from tests.corpus import trees


def item(name: str, speaker: str = "ann", path: Path = Path("none.wav"), stratum: str = "") -> RawItem:
    return RawItem(name, speaker, "0", path.name, AudioFile(path), stratum=stratum)


def zoo(root: Path) -> list[RawItem]:
    """Nine good recordings and one each of the bad kinds."""
    good = [item(f"ann-0-{number}", path=trees.put(root / f"good_{number}.wav")) for number in range(9)]
    sick = np.full(4000, np.nan, np.float32)
    paths = {
        "empty": trees.put(root / "empty.wav", np.zeros(0, np.float32)),
        "zero_bytes": root / "zero_bytes.wav",
        "text": root / "text.wav",
        "missing": root / "missing.wav",
        "nan": trees.put(root / "nan.wav", sick, subtype="FLOAT"),
        "silent": trees.put(root / "silent.wav", np.zeros(4000, np.float32)),
        "short": trees.put(root / "short.wav", trees.tone(0.02)),
        "slow": trees.put(root / "slow.wav", trees.tone(0.3), rate=1000),
    }
    paths["zero_bytes"].touch()
    paths["text"].write_text("this is no audio")
    return good + [item(f"ann-0-{name}", path=path) for name, path in paths.items()]


def test_bad_files_are_listed_and_good_ones_kept(tmp_path: Path) -> None:
    items = zoo(tmp_path)
    corpus = write_corpus(items, tmp_path / "out", tmp_path / "kept", max_rejected=0.5)
    assert corpus.manifest.num_rows == 9
    reasons = dict(zip(corpus.rejected["path"], corpus.rejected["reason"], strict=True))
    expected = {
        "empty.wav": "no samples",
        "missing.wav": "no such audio file",
        "nan.wav": "NaN or infinite",
        "short.wav": "shorter than",
        "silent.wav": "silent",
        "slow.wav": "sample rate 1000 Hz",
        "text.wav": "not a readable audio file",
        "zero_bytes.wav": "not a readable audio file",
    }
    assert list(reasons) == list(expected)
    assert all(reasons[name].startswith(start) for name, start in expected.items())
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.*")) == [f"ann-0-{n}.flac" for n in range(9)]
    too_many = r"8 of 17 .*share of 0\.471.*allowed 0\.4.*empty\.wav: no samples; missing\.wav"
    with pytest.raises(DataError, match=too_many):
        write_corpus(items, tmp_path / "none", tmp_path / "kept", max_rejected=0.4)
    with pytest.raises(DataError, match=r"no usable utterance among 1\. x\.wav: broken"):
        write_corpus([Rejected("x.wav", "broken")], tmp_path / "none", tmp_path / "kept", max_rejected=1)


def test_a_small_sample_of_a_large_corpus_is_judged_by_the_whole(tmp_path: Path) -> None:
    """Four bad rows among a hundred are few, though only four good ones are drawn."""
    path = trees.put(tmp_path / "a.wav")
    good = [item(f"ann-0-{number:02d}", path=path) for number in range(96)]
    bad = [Rejected(f"{number}.wav", "broken") for number in range(4)]
    corpus = write_corpus([*good, *bad], tmp_path / "out", tmp_path / "kept", max_utterances=4, max_rejected=0.05)
    assert (corpus.manifest.num_rows, len(corpus.rejected)) == (4, 4)


def test_manifest_describes_the_files(tmp_path: Path) -> None:
    trees.fsdd(tmp_path / "in")
    items = open_source(CorpusConfig(source="fsdd", root=str(tmp_path / "in")))
    corpus = write_corpus(items, tmp_path / "out", tmp_path / "kept")
    manifest = corpus.manifest.to_pandas()
    assert manifest["utterance"].is_monotonic_increasing
    assert len(manifest) == 40
    assert corpus.phone_events.num_rows == 0
    assert corpus.phone_events.column_names == ["utterance", "start_s", "end_s", "symbol", "word_index"]
    row = manifest.iloc[0]
    assert row["path"] == "jackson/0/jackson-0-00.flac"
    assert row["sha256"] == hashlib.sha256((tmp_path / "out" / row["path"]).read_bytes()).hexdigest()
    assert row["duration_s"] == pytest.approx(0.3)
    assert (row["sample_rate"], row["sex"], row["word"], row["split"]) == (8000, "M", "zero", "eval")


def test_16_bit_samples_are_kept_exactly(tmp_path: Path) -> None:
    path = trees.put(tmp_path / "a.wav", np.random.default_rng(0).uniform(-1, 1, 4000).astype(np.float32))
    write_corpus([item("ann-0-a", path=path)], tmp_path / "out", tmp_path / "kept")
    before, after = (sf.read(p, dtype="int16")[0] for p in (path, tmp_path / "out/ann/0/ann-0-a.flac"))
    np.testing.assert_array_equal(before, after)


def test_workers_change_nothing(tmp_path: Path) -> None:
    trees.fsdd(tmp_path / "in")
    spoken = [RawItem(f"eve-0-{n}", "eve", "0", n, EspeakSpeech(n, "en-us+f3"), n) for n in ("one", "two")]
    files = list(open_source(CorpusConfig(source="fsdd", root=str(tmp_path / "in"))))
    one = write_corpus([*files, *spoken], tmp_path / "one", tmp_path / "kept", workers=1)
    two = write_corpus([*spoken[::-1], *files[::-1]], tmp_path / "two", tmp_path / "kept", workers=2)
    assert one.manifest.equals(two.manifest)
    assert one.phone_events.equals(two.phone_events)
    assert one.phone_events.num_rows > 4


def test_unsafe_and_repeated_ids_are_rejected() -> None:
    names = ("ann-0-1", "ann-0-1", "../evil", "a/b", "a\nb", "", "/abs")
    accepted, rejected = screen([item(name, path=Path(f"{place}.wav")) for place, name in enumerate(names)])
    assert [entry.utterance for entry in accepted] == ["ann-0-1"]
    assert [entry.path for entry in rejected] == [f"{place}.wav" for place in range(1, 7)]
    assert "taken by 0.wav" in rejected[0].reason
    assert all("unsafe id" in entry.reason for entry in rejected[1:])
    assert screen([replace(item("ok"), speaker="../..")])[0] == []
    assert screen([replace(item("ok"), chapter="..")])[0] == []


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 80), st.randoms())
def test_sample_spreads_evenly_over_speakers(sizes: list[int], size: int, random: Random) -> None:
    items = [item(f"s{who}-0-{number}", f"s{who}") for who, count in enumerate(sizes) for number in range(count)]
    chosen = sample(items, size, seed=3)
    assert len(chosen) == min(size, len(items))
    taken = Counter(entry.speaker for entry in chosen)
    unfinished = [taken[f"s{who}"] for who, count in enumerate(sizes) if taken[f"s{who}"] < count]
    assert not unfinished or max(taken.values()) - min(unfinished) <= 1
    random.shuffle(items)
    assert names(sample(items, size, seed=3)) == names(chosen)


def names(items: Sequence[RawItem]) -> set[str]:
    return {entry.utterance for entry in items}


def test_sample_balances_strata_and_is_drawn_by_the_seed() -> None:
    """A cell with few speakers gets as many places as one with many."""
    many = [item(f"m{n}-0-0", f"m{n}", stratum="M/us") for n in range(90)]
    few = [item(f"f{n % 3}-0-{n}", f"f{n % 3}", stratum="F/us") for n in range(30)]
    chosen = sample([*many, *few], 20, seed=0)
    assert Counter(entry.stratum for entry in chosen) == {"M/us": 10, "F/us": 10}
    assert sorted(Counter(e.speaker for e in chosen if e.stratum == "F/us").values()) == [3, 3, 4]
    assert names(chosen) != names(sample([*many, *few], 20, seed=1))
