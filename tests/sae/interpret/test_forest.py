from __future__ import annotations

import numpy as np
import pytest

from phonoscope.sae.interpret.forest import sex_forest


def corpus(speakers: int = 8, takes: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(speakers), takes)
    sex = np.where(speaker % 2, "M", "F")
    names = np.array([f"s{number}" for number in speaker])
    train = np.tile(np.arange(takes) < takes - 1, speakers)
    return rng.normal(size=(len(speaker), 10)), sex, names, train


def scores(means: np.ndarray) -> dict[str, float]:
    _, sex, speaker, train = corpus()
    table = sex_forest(means, sex, speaker, train, trees=20, seed=0)
    return {str(name): float(own["balanced_accuracy"].iloc[0]) for name, own in table.groupby("split_by")}


def test_what_only_names_the_speaker_does_not_pass_for_sex() -> None:
    """A feature a speaker: known speakers are told apart, held-out ones are not."""
    means, _, speaker, _ = corpus()
    for number, name in enumerate(sorted(set(speaker))):
        means[:, number] = speaker == name
    accuracies = scores(means[:, :8])
    assert accuracies["utterance"] == 1.0
    assert accuracies["speaker"] < 0.7


def test_a_feature_of_the_sex_holds_for_new_speakers() -> None:
    means, sex, _, _ = corpus()
    means[:, :5] += 6 * (sex == "F")[:, None]
    assert scores(means) == {"utterance": 1.0, "speaker": 1.0}


def test_the_report_is_by_sex_and_without_eval_by_speaker_alone() -> None:
    means, sex, speaker, train = corpus()
    table = sex_forest(means, sex, speaker, train, trees=5, seed=0)
    assert table[["split_by", "sex"]].to_numpy().tolist() == [[a, b] for a in ("utterance", "speaker") for b in "FM"]
    assert table.loc[2:, "support"].tolist() == [24, 24]
    own = table[table["split_by"] == "speaker"]
    assert own["balanced_accuracy"].iloc[0] == pytest.approx(own["recall"].mean())
    table = sex_forest(means, sex, speaker, np.ones_like(train), trees=5, seed=0)
    assert set(table["split_by"]) == {"speaker"}
