from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from phonoscope.data import Frames, Labels, Manifest, Split, Tokens
from phonoscope.errors import DataError, ParamsError
from phonoscope.probes import TASKS, Task, read_frames, register
from phonoscope.probes.pose import make_folds
from phonoscope.probes.tasks import find_classifications, find_tasks

from .deep import plant, quick

FRAMES = Frames(
    utterances=np.array([0, 0, 1, 1, 1]),
    frames=np.array([0, 1, 0, 1, 2]),
    codes=np.zeros((5, 1), dtype=np.int64),
    phones=np.array([0, 1, 2, -1, 1]),
    phone_names=("SIL", "AH0", "S"),
    f0_hz=np.array([np.nan, 120.0, np.nan, np.nan, 60.0]),
)
MANIFEST = Manifest.from_arrays(["u", "v"], speaker=["ann", "bob"], sex=["F", ""], accent=["x", "y"], word=["", "one"])


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("phone", [None, "AH0", "S", None, "AH0"]),
        ("phone_silence", ["SIL", "AH0", "S", None, "AH0"]),
        ("phone_group", ["silence", "vowel", "fricative", None, "vowel"]),
        ("voicing", [None, "voiced", "unvoiced", None, "voiced"]),
        ("pitch_band", [None, "up to 126 Hz", None, None, "up to 063 Hz"]),
        ("speaker", [None, "ann", "bob", "bob", "bob"]),
        ("sex", [None, "F", None, None, None]),
        ("word", [None, None, "one", "one", "one"]),
    ],
)
def test_tasks_name_the_class_of_every_frame(task: str, expected: list[str | None]) -> None:
    labels, names = TASKS[task].read(FRAMES, MANIFEST)
    assert [names[label] if label >= 0 else None for label in labels] == expected


def test_names_are_checked() -> None:
    assert [task.name for task in find_tasks(["pitch", "phone"])] == ["pitch", "phone"]
    assert find_tasks(["all"]) == list(TASKS.values())
    assert "pitch" not in [task.name for task in find_classifications(["all"])]
    with pytest.raises(ParamsError, match="'pitch' has values"):
        find_classifications(["pitch"])


@pytest.fixture
def vowel_task() -> Iterator[Task]:
    yield register(replace(TASKS["phone_group"], name="vowel", read=_vowel))
    del TASKS["vowel"]


def _vowel(frames: Frames, manifest: Manifest) -> tuple[np.ndarray, list[str]]:
    groups, names = TASKS["phone_group"].read(frames, manifest)
    return np.where(groups >= 0, groups == names.index("vowel"), -1), ["other", "vowel"]


def test_a_new_task_is_one_entry(vowel_task: Task) -> None:
    planted = plant()
    config = quick(tasks=("vowel",), information=(), layers=(1,), inputs=("layer",))
    result = replace(planted, frames=planted.read([vowel_task])).probe(config)
    assert set(result.classes["class"]) == {"vowel", "other"}
    linear = result.table[(result.table["probe"] == "linear") & (result.table["measure"] == "accuracy")]
    assert linear["value"].item() > 0.9


def test_a_token_table_is_read_in_its_order() -> None:
    planted = plant()
    frames = planted.read(find_tasks(["phone", "speaker", "pitch"]))
    np.testing.assert_array_equal(frames.codes, planted.frames.codes)
    np.testing.assert_array_equal(frames.utterances, planted.frames.utterances)
    for task in ("phone", "speaker", "pitch"):
        np.testing.assert_array_equal(frames.targets[task][0], planted.frames.targets[task][0])
        assert frames.targets[task][1] == planted.frames.targets[task][1]
    with pytest.raises(DataError, match="no frames of the manifest's utterances"):
        read_frames(Tokens.from_arrays({"u": np.zeros((1, 2))}), Labels.from_frames([]), planted.manifest, [])


def test_no_text_and_no_speaker_is_on_both_sides() -> None:
    planted = plant()
    for kind, column in (("texts", "text"), ("speakers", "speaker")):
        folds = make_folds(kind, planted.split, planted.manifest, 4)  # type: ignore[arg-type]
        values = np.array(planted.manifest[column])
        assert all(not set(values[fold.train]) & set(values[fold.evaluation]) for fold in folds)
        assert np.array([fold.evaluation for fold in folds]).sum(axis=0).tolist() == [1] * len(values)
    same, one = Manifest.from_arrays(["a", "b"], text=["x", "x"], speaker=["x", "x"]), Split(["a"], ["b"], [["x"]])
    assert make_folds("texts", one, same) == make_folds("speakers", one, same) == []
