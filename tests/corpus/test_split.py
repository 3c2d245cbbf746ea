from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.config.corpus import SplitConfig
from phonoscope.corpus.split import make_split, normalise_text, speaker_folds
from phonoscope.data import Manifest
from phonoscope.errors import DataError

Row = tuple[str, str, str]  # speaker, text, word


def manifest(rows: list[Row], split: list[str] | None = None) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["speaker", "text", "word"])
    table["utterance"] = [f"u{number:04d}" for number in range(len(rows))]
    table["sex"] = ["F" if speaker < "d" else "M" for speaker in table["speaker"]]
    table["split"] = split or ""
    return table


speakers = st.sampled_from("abcdef")
sentences = st.tuples(speakers, st.sampled_from(["", "One.", "two", "Two!", "three", "four", "five six"]), st.just(""))
words = st.tuples(speakers, st.just("yes"), st.just("yes"))
rows_of_any_kind = st.lists(sentences | words, min_size=2, max_size=60)


@given(rows_of_any_kind, st.floats(0.05, 0.5), st.integers(0, 5))
def test_sides_are_disjoint_conserving_and_share_no_sentence(rows: list[Row], fraction: float, seed: int) -> None:
    table = manifest(rows)
    try:
        split = make_split(Manifest(table), SplitConfig(eval_fraction=fraction, seed=seed))
    except DataError:
        return
    assert sorted(split.train + split.eval) == table["utterance"].tolist()
    assert split.train == sorted(split.train)
    assert split.eval == sorted(split.eval)
    sides = table["utterance"].isin(split.eval)
    read = table[(table["word"] == "") & (table["text"] != "")]
    texts = [set(part["text"].map(normalise_text)) for _, part in read.groupby(sides)]
    assert len(texts) < 2 or not texts[0] & texts[1]
    assert set(table.loc[~sides, "speaker"]) == set(table["speaker"])


@given(st.lists(st.tuples(speakers, st.booleans()), min_size=2, max_size=80), st.floats(0.05, 0.5))
def test_without_repeated_texts_every_speaker_gives_its_share(kinds: list[tuple[str, bool]], fraction: float) -> None:
    rows = [(who, f"text {n}", "yes" if is_word else "") for n, (who, is_word) in enumerate(kinds)]
    table = manifest(rows)
    sizes = Counter(who for who, _ in kinds)
    if max(sizes.values()) == 1:
        with pytest.raises(DataError, match="0 eval"):
            make_split(Manifest(table), SplitConfig(eval_fraction=fraction))
        return
    split = make_split(Manifest(table), SplitConfig(eval_fraction=fraction))
    held_out = Counter(table.set_index("utterance").loc[split.eval, "speaker"])
    for who, size in sizes.items():
        assert held_out[who] == 0 if size == 1 else 1 <= held_out[who] < size
        assert abs(held_out[who] - fraction * size) <= 1.01


def test_texts_read_by_two_speakers_each() -> None:
    """The default corpus's plan: sentences shared by two neighbours of a ring, and word takes."""
    plan = [(f"{who:02d}", f"Sentence {n}.", "") for n in range(180) for who in (n % 14, (n + 1) % 14)]
    plan += [(f"{who:02d}", "yes", "yes") for who in range(14) for _ in range(48)]
    table = manifest(plan)
    split = make_split(Manifest(table), SplitConfig())
    held_out = table[table["utterance"].isin(split.eval)]
    assert held_out.groupby(["speaker", "word"]).size().unstack()[""].between(1, 4).all()
    assert held_out.groupby(["speaker", "word"]).size().unstack()["yes"].eq(5).all()
    assert abs(len(split.eval) / len(table) - 0.1) < 0.02


def test_speaker_whose_texts_forbid_both_sides_stays_in_train(caplog: pytest.LogCaptureFixture) -> None:
    rows = [("a", "same", ""), ("a", "Same.", ""), ("b", "x", ""), ("b", "y", "")]
    split = make_split(Manifest(manifest(rows)), SplitConfig())
    assert {"u0000", "u0001"} <= set(split.train)
    assert "in train only" in caplog.text


def test_the_split_is_drawn_by_the_seed_whatever_the_order_of_the_rows() -> None:
    table = manifest([("ab"[n % 2], f"text {n // 3}", "") for n in range(100)])
    first, again, other = (make_split(Manifest(table), SplitConfig(seed=seed)) for seed in (1, 1, 2))
    assert first == again == make_split(Manifest(table.iloc[::-1]), SplitConfig(seed=1))
    assert first.eval != other.eval


def test_official_split_is_kept() -> None:
    table = manifest([("a", "zero", "zero")] * 10, ["eval"] * 2 + ["train"] * 8)
    assert make_split(Manifest(table), SplitConfig(eval_fraction=0.5)).eval == ["u0000", "u0001"]
    assert len(make_split(Manifest(table), SplitConfig(eval_fraction=0.5, official=False)).eval) == 5


def test_an_empty_side_is_an_error() -> None:
    table = manifest([("a", "zero", "zero")] * 3, ["train"] * 3)
    with pytest.raises(DataError, match=r"3 train and 0 eval.*official split"):
        make_split(Manifest(table), SplitConfig())


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.integers(2, 8))
def test_folds_part_the_speakers_and_balance_sex(female: list[bool], folds: int) -> None:
    table = pd.DataFrame({"speaker": [f"s{n}" for n in range(len(female))], "sex": ["F" if f else "M" for f in female]})
    result = speaker_folds(Manifest(table), folds, seed=0)
    assert len(result) == min(folds, len(female))
    assert sorted(name for fold in result for name in fold) == sorted(table["speaker"])
    sex = table.set_index("speaker")["sex"]
    for code in "FM":
        counts = [sum(sex[name] == code for name in fold) for fold in result]
        assert max(counts) - min(counts) <= 1
