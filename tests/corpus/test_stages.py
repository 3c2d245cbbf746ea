import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.corpus import CorpusConfig, SplitConfig
from phonoscope.errors import DataError
from phonoscope.pipeline import corpus as corpus_stage
from phonoscope.pipeline import split as split_stage
from tests.corpus import trees


def params(root: Path, **corpus: object) -> Any:
    config = CorpusConfig.model_validate({"source": "fsdd", "root": str(root), **corpus})
    return SimpleNamespace(corpus=config, split=SplitConfig(), compute=ComputeConfig(workers=1))


def tree_bytes(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_corpus_then_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = params(trees.fsdd(tmp_path / "in"))
    report = corpus_stage.run(values)
    assert report.metrics == pytest.approx({"utterances": 40, "speakers": 2, "duration_min": 0.2, "rejected": 0})
    assert pd.read_parquet(paths.MANIFEST)["sample_rate"].dtype == "int32"
    assert pd.read_parquet(paths.PHONE_EVENTS).empty
    assert paths.REJECTED.read_text() == "path,reason\n"
    assert split_stage.run(values).metrics == pytest.approx(
        {"train": 20, "eval": 20, "train_min": 0.1, "eval_min": 0.1}
        | {"eval_words": 20, "eval_words_new_take": 0, "eval_words_new_speaker": 0}
    )
    split = json.loads(paths.SPLIT.read_text())
    assert sorted(split) == ["eval", "official", "speaker_folds", "train"]
    assert sorted(split["speaker_folds"]) == [["jackson"], ["lucas"]]

    values = params(tmp_path / "in", max_utterances=10)
    written = []
    for _ in range(2):
        corpus_stage.run(values)
        written.append(tree_bytes(paths.CORPUS))
    assert written[0] == written[1]
    assert len(written[0]) == 13


def test_a_failing_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = trees.fsdd(tmp_path / "in", count=1)
    for path in sorted(root.iterdir())[:2]:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="2 of 4 utterances"):
        corpus_stage.run(params(root))
    assert not any((tmp_path / "data").iterdir())
