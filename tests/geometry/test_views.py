from __future__ import annotations

import pandas as pd
import pytest
from pydantic import ValidationError

from phonoscope.errors import DataError
from phonoscope.geometry import GeometryConfig
from phonoscope.geometry.views import choose_views

from .planted import BRIEF, said


def test_the_notebooks_view_is_balanced_over_words_speakers_and_sexes() -> None:
    clips, _ = said(("yes", "no", "one"), speakers=7, takes=3)
    views = choose_views(clips, BRIEF)
    assert list(views) == ["notebook", "full"]
    assert views["full"].tolist() == list(range(len(clips)))
    chosen = clips.iloc[views["notebook"]]
    assert chosen.groupby("word").size().to_dict() == {"no": 4, "yes": 4}
    assert set(chosen.groupby(["word", "sex"]).size()) == {2}
    assert set(chosen.groupby(["word", "speaker"]).size()) == {1}
    assert chosen["speaker"].nunique() == 4  # the same speakers for every word
    more = clips.iloc[choose_views(clips, BRIEF.model_copy(update={"samples_per_word": 10}))["notebook"]]
    assert set(more.groupby(["word", "speaker"]).size()) == {1, 2}
    assert set(more.groupby("word").size()) == {10}


def test_the_choice_is_the_seeds_and_the_full_view_can_be_left_out() -> None:
    clips, _ = said(takes=5)
    assert list(choose_views(clips, BRIEF.model_copy(update={"full_view": False}))) == ["notebook"]
    first, again = (choose_views(clips, BRIEF)["notebook"].tolist() for _ in range(2))
    assert first == again
    other = choose_views(clips, BRIEF.model_copy(update={"seed": 1}))["notebook"].tolist()
    assert first != other


def test_short_and_absent_words_are_named(caplog: pytest.LogCaptureFixture) -> None:
    clips, _ = said()
    lone = pd.DataFrame([("x", "two", "s0", "F", "en")], columns=clips.columns)
    config = BRIEF.model_copy(update={"words": ("yes", "no", "two", "zero"), "samples_per_word": 50})
    views = choose_views(pd.concat([clips, lone], ignore_index=True), config)
    assert "words of one clip only are left out: two" in caplog.text
    assert "the corpus has no two clips of the words two, zero" in caplog.text
    assert "'yes' has 8 clips only, all are taken" in caplog.text
    assert len(views["notebook"]) == 16
    assert len(clips) not in views["full"]


def test_one_word_is_refused() -> None:
    clips, _ = said(("yes", "one"))
    with pytest.raises(DataError, match=r"two words with two clips each are needed; the corpus has one, yes"):
        choose_views(clips, BRIEF)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"words": ("yes",)}, "two different words"),
        ({"words": ("yes", "no", "no")}, "names one twice"),
        ({"representations": ()}, "the list is empty"),
        ({"representations": ("codes",)}, "codes_mean"),
        ({"projections": ("layers",)}, "codes_mean"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        GeometryConfig(**changes)
