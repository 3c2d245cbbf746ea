import string
from collections import Counter, defaultdict

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.config.corpus import SplitConfig
from phonoscope.corpus.split import leak_units, leaks, make_split, normalise_text, speaker_folds, split_metrics
from phonoscope.data import Manifest, Split
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


recorded = st.tuples(speakers, st.sampled_from(["", "one", "two"]), st.sampled_from(["", "yes", "no", "go"]))
with_copies = st.lists(st.tuples(recorded, st.integers(0, 40)), min_size=2, max_size=60)


@given(with_copies, st.floats(0.05, 0.5), st.integers(0, 5))
def test_near_takes_and_copies_are_on_one_side(rows: list[tuple[Row, int]], fraction: float, seed: int) -> None:
    table = manifest([row for row, _ in rows]).assign(sha256=[str(copy) for _, copy in rows])
    try:
        split = make_split(Manifest(table), SplitConfig(eval_fraction=fraction, seed=seed))
    except DataError:
        return
    assert sorted(split.train + split.eval) == table["utterance"].tolist()
    assert split == make_split(Manifest(table), SplitConfig(eval_fraction=fraction, seed=seed))
    side = table["utterance"].isin(split.eval)
    assert (side.groupby(table["sha256"]).nunique() == 1).all()
    said = table[table["word"] != ""]
    shared = said.groupby("word")["speaker"].transform("nunique") > 1
    takes = side[shared[shared].index].groupby([said["word"][shared], said["speaker"][shared]])
    assert (takes.nunique() == 1).all()
    assert set(said.loc[~side, "word"]) == set(said["word"])  # no word is of eval alone
    assert list(leaks(Manifest(table), split)) == []


@given(with_copies)
def test_units_are_the_components_of_what_is_shared(rows: list[tuple[Row, int]]) -> None:
    """Against a search that joins two utterances wherever they share a text, a recording or a speaker's word."""
    table = manifest([row for row, _ in rows]).assign(sha256=[str(copy) for _, copy in rows])
    said_by = defaultdict(set)
    for speaker, word in zip(table["speaker"], table["word"], strict=True):
        said_by[word].add(speaker)

    def joined(one: dict[str, str], other: dict[str, str]) -> bool:
        takes = (
            one["word"] == other["word"] != "" and one["speaker"] == other["speaker"] and len(said_by[one["word"]]) > 1
        )
        text = (
            not one["word"] and not other["word"] and normalise_text(one["text"]) == normalise_text(other["text"]) != ""
        )
        return takes or text or one["sha256"] == other["sha256"]

    left, expected = table.to_dict("records"), set()
    while left:
        component, reached = [left.pop()], 0
        while reached < len(component):
            near = [other for other in left if joined(component[reached], other)]
            component, left, reached = [*component, *near], [other for other in left if other not in near], reached + 1
        expected.add(frozenset(one["utterance"] for one in component))
    members = defaultdict(set)
    for utterance, unit in leak_units(Manifest(table)).items():
        members[unit].add(utterance)
    assert {frozenset(unit) for unit in members.values()} == expected


@given(st.lists(speakers, min_size=2, max_size=80), st.floats(0.05, 0.5))
def test_without_repeated_texts_every_speaker_gives_its_share(readers: list[str], fraction: float) -> None:
    table = manifest([(who, f"text {n}", "") for n, who in enumerate(readers)])
    sizes = Counter(readers)
    if max(sizes.values()) == 1:
        with pytest.raises(DataError, match="0 eval"):
            make_split(Manifest(table), SplitConfig(eval_fraction=fraction))
        return
    split = make_split(Manifest(table), SplitConfig(eval_fraction=fraction))
    held_out = Counter(table.set_index("utterance").loc[split.eval, "speaker"])
    for who, size in sizes.items():
        assert held_out[who] == 0 if size == 1 else 1 <= held_out[who] < size
        assert abs(held_out[who] - fraction * size) <= 1.01


@given(st.integers(2, 14), st.integers(5, 12), st.integers(1, 5), st.integers(0, 5))
def test_speakers_and_words_give_their_share_within_all_takes_of_a_word(
    people: int, words: int, takes: int, seed: int
) -> None:
    vocabulary = string.ascii_lowercase[:words]
    table = manifest([(f"s{who}", word, word) for who in range(people) for word in vocabulary for _ in range(takes)])
    split = make_split(Manifest(table), SplitConfig(seed=seed))
    held_out = table[table["utterance"].isin(split.eval)]
    of_speaker = held_out["speaker"].value_counts().reindex(table["speaker"].unique(), fill_value=0)
    assert (abs(of_speaker - 0.2 * words * takes) <= takes + 0.5).all()
    of_word = held_out["word"].value_counts().reindex(list(vocabulary), fill_value=0)
    assert (of_word <= 0.2 * people * takes + 2 * takes + 0.5).all()


def plan() -> pd.DataFrame:
    """The default corpus's plan: sentences shared by two neighbours of a ring, and four takes of twelve words."""
    rows = [(f"{who:02d}", f"Sentence {n}.", "") for n in range(180) for who in (n % 14, (n + 1) % 14)]
    rows += [(f"{who:02d}", word, word) for who in range(14) for word in string.ascii_lowercase[:12] for _ in range(4)]
    return manifest(rows).assign(duration_s=1.2)


def test_texts_read_by_two_speakers_each_and_takes_of_words() -> None:
    table = plan()
    split = make_split(Manifest(table), SplitConfig())
    held_out = table[table["utterance"].isin(split.eval)]
    read, said = held_out[held_out["word"] == ""], held_out[held_out["word"] != ""]
    assert read.groupby("speaker").size().between(3, 7).all()
    assert said.groupby("speaker").size().isin([8, 12]).all()
    assert said.groupby("word").size().between(8, 16).all()
    assert said["word"].nunique() == 12
    assert abs(len(split.eval) / len(table) - 0.2) < 0.02
    metrics = split_metrics(Manifest(table), split)
    assert (metrics["eval"], metrics["eval_min"]) == (len(held_out), pytest.approx(len(held_out) * 0.02))
    assert metrics["eval_words"] == metrics["eval_words_new_take"] == len(said)
    assert metrics["eval_words_new_speaker"] == 0


def test_words_of_eval_that_train_has_of_the_same_speaker_are_counted() -> None:
    rows = [("a", "yes", "yes"), ("a", "yes", "yes"), ("b", "yes", "yes"), ("a", "no", "no"), ("c", "no", "no")]
    table = manifest(rows).assign(duration_s=60.0)
    metrics = split_metrics(Manifest(table), Split.from_arrays(["u0000", "u0003"], ["u0001", "u0002", "u0004"]))
    assert metrics == {
        "train": 2,
        "eval": 3,
        "train_min": 2,
        "eval_min": 3,
        "eval_words": 3,
        "eval_words_new_take": 2,
        "eval_words_new_speaker": 2,
    }


def test_takes_of_a_word_that_one_speaker_says_are_divided() -> None:
    table = manifest([("a", word, word) for word in ("yes", "no") for _ in range(10)]).assign(duration_s=1.0)
    split = make_split(Manifest(table), SplitConfig())
    assert len(split.eval) == 4
    assert split_metrics(Manifest(table), split)["eval_words_new_take"] == 0


def test_planted_leaks_are_named() -> None:
    rows = [("a", "yes", "yes"), ("a", "yes", "yes"), ("b", "yes", "yes"), ("a", "One.", ""), ("b", "one", "")]
    table = Manifest(manifest(rows).assign(sha256=list("vwxyz")))
    clean = Split.from_arrays(["u0000", "u0001"], ["u0002", "u0003", "u0004"])
    assert list(leaks(table, clean)) == []
    takes = Split.from_arrays(["u0000", "u0003", "u0004"], ["u0001", "u0002"])
    assert [reason.split(":")[0] for reason in leaks(table, takes)] == ["near takes or the same text in eval and train"]
    texts = Split.from_arrays(["u0000", "u0001", "u0003"], ["u0002", "u0004"])
    assert "u0004 and u0003 (1 eval utterances)" in next(leaks(table, texts))
    copies = Manifest(manifest(rows).assign(sha256=list("vwvyz")))
    assert next(leaks(copies, clean)).startswith("the same recording in eval and train")


def test_a_copy_of_an_eval_recording_leaves_the_train_side_of_an_official_split() -> None:
    table = manifest([("a", "zero", "zero")] * 10, ["eval"] * 2 + ["train"] * 8).assign(sha256=[*"abcdefgh", "a", ""])
    split = make_split(Manifest(table), SplitConfig())
    assert split.eval == ["u0000", "u0001", "u0008"]
    assert split.official
    assert list(leaks(Manifest(table), split)) == []


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
