from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from phonoscope.errors import DataError
from phonoscope.probes import TASKS, PhoneLabels, phone_group, probe_depth, read_frames, register
from phonoscope.probes.splits import make_folds
from phonoscope.probes.stream import Frames

from .deep import plant, quick

FRAMES = Frames(
    utterances=np.array([0, 0, 1, 1, 1]),
    codes=np.zeros((5, 1), dtype=np.int64),
    phones=np.array([0, 1, 2, -1, 1]),
    phone_names=("SIL", "AH0", "S"),
    f0_hz=np.array([np.nan, 120.0, np.nan, np.nan, 60.0]),
)
MANIFEST = {"speaker": ["ann", "bob"], "sex": ["F", ""], "accent": ["x", "y"], "word": ["", "one"]}


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("phone", [None, "AH0", "S", None, "AH0"]),
        ("phone_group", ["silence", "vowel", "fricative", None, "vowel"]),
        ("voicing", [None, "voiced", "unvoiced", None, "voiced"]),
        ("pitch_band", [None, "up to 126 Hz", None, None, "up to 063 Hz"]),
        ("speaker", ["ann", "ann", "bob", "bob", "bob"]),
        ("sex", ["F", "F", None, None, None]),
        ("word", [None, None, "one", "one", "one"]),
    ],
)
def test_tasks_name_the_class_of_every_frame(task: str, expected: list[str | None]) -> None:
    labels, names = TASKS[task].labels(FRAMES, MANIFEST)
    assert [names[label] if label >= 0 else None for label in labels] == expected


def test_phones_have_groups() -> None:
    assert [phone_group(p) for p in ("AA1", "CH", "NG", "SIL", "spn")] == [
        *("vowel", "affricate", "nasal", "silence", "other")
    ]


@pytest.fixture
def vowel_task() -> Iterator[str]:
    @register
    class Vowel(PhoneLabels):
        """Whether a phone is a vowel."""

        name = "vowel"

        def of(self, phone: str) -> str:
            return "vowel" if phone_group(phone) == "vowel" else "other"

    yield Vowel.name
    del TASKS[Vowel.name]


def test_a_new_task_is_a_class_and_an_entry(vowel_task: str, tmp_path: Path) -> None:
    planted = plant()
    tokens = planted.write(tmp_path / "tokens.parquet")
    frames = read_frames(tokens, planted.manifest, [vowel_task], tmp_path, layers=3, size=32)
    config = quick(tasks=(vowel_task,), information=(), layers=(1,), inputs=("layer",))
    result = probe_depth(frames, planted.vectors, planted.manifest, planted.split, config, codec="planted")
    assert set(result.classes["class"]) == {"vowel", "other"}
    linear = result.scores[(result.scores["probe"] == "linear") & (result.scores["measure"] == "accuracy")]
    assert linear["value"].item() > 0.9


def test_a_token_table_is_read_in_its_order(tmp_path: Path) -> None:
    planted = plant()
    tokens = planted.write(tmp_path / "tokens.parquet")
    frames = read_frames(tokens, planted.manifest, ["phone", "speaker"], tmp_path, layers=3, size=32)
    np.testing.assert_array_equal(frames.codes, planted.frames.codes)
    np.testing.assert_array_equal(frames.utterances, planted.frames.utterances)
    for task in ("phone", "speaker"):
        np.testing.assert_array_equal(frames.labels[task][0], planted.frames.labels[task][0])
        assert frames.labels[task][1] == planted.frames.labels[task][1]
    with pytest.raises(DataError, match=r"tokens\.parquet: no frames, or frames of utterances that the manifest lacks"):
        read_frames(tokens, {"utterance": ["u000"]}, [], tmp_path, layers=3, size=32)


def test_no_text_and_no_speaker_is_on_both_sides() -> None:
    planted = plant()
    for kind, column in (("texts", "text"), ("speakers", "speaker")):
        folds = make_folds(kind, planted.split, planted.manifest, 4)  # type: ignore[arg-type]
        values = np.array(planted.manifest[column])
        assert all(not set(values[fold.train]) & set(values[fold.evaluation]) for fold in folds)
        assert np.array([fold.evaluation for fold in folds]).sum(axis=0).tolist() == [1] * len(values)
    same = {"text": ["a", "a"], "speaker": ["x", "x"]}
    assert make_folds("texts", planted.split, same) == make_folds("speakers", {"speaker_folds": [["x"]]}, same) == []
