from __future__ import annotations

import pytest
from pydantic import ValidationError

from phonoscope.config.corpus import CorpusConfig, SplitConfig


@pytest.mark.parametrize(
    "values",
    [
        {"source": "timit"},
        {"root": ""},
        {"max_utterances": -1},
        {"max_rejected": 1.5},
        {"takes": 0, "sentences_per_speaker": 0},
        {"speakers": 3},
    ],
)
def test_corpus_config_refuses(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CorpusConfig.model_validate(values)


@pytest.mark.parametrize("values", [{"eval_fraction": 0}, {"eval_fraction": 0.6}, {"folds": 1}, {"fraction": 0.1}])
def test_split_config_refuses(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SplitConfig.model_validate(values)


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError):
        CorpusConfig().seed = 3
