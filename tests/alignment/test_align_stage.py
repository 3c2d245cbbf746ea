from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.alignment.textgrid import read_textgrid
from phonoscope.audio import write_flac
from phonoscope.config.alignment import AlignmentConfig
from phonoscope.corpus.espeak import synthesize
from phonoscope.data import Labels
from phonoscope.data.labels import Interval
from phonoscope.errors import DataError
from phonoscope.events import PhoneEvent
from phonoscope.pipeline import align

from . import spoken

TEXTS = {"a": "seven", "b": "no", "c": "of the sea"}  # with phone events
TEXTS |= {"given": "yes", "human": "five workhouse men", "unknown": "зорблакс", "mute": ""}
MakeParams = Callable[..., Any]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus: three utterances with phone events, one with a TextGrid, three without either."""
    root = tmp_path_factory.mktemp("checkout")
    rows, events = [], []
    for utterance, text in TEXTS.items():
        speech = synthesize(text or "one", "en-us+f2")
        row = {"utterance": utterance, "path": f"s1/c1/{utterance}.flac", "text": text, "accent": "en-us"}
        write_flac(root / paths.CORPUS / row["path"], speech.samples, speech.sample_rate)
        rows.append(row)
        if utterance in ("a", "b", "c"):
            events += [(utterance, *event) for event in speech.events]
    pd.DataFrame(rows).to_parquet(root / paths.MANIFEST)
    pd.DataFrame(events, columns=["utterance", *PhoneEvent._fields]).to_parquet(root / paths.PHONE_EVENTS)
    given = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n0.3\n<exists>\n1\n"IntervalTier"\n"phones"\n'
    (root / "grids/deep").mkdir(parents=True)
    (root / "grids/deep/given.TextGrid").write_text(given + '0\n0.3\n1\n0.1\n0.3\n"Y"\n')
    return root


@pytest.fixture
def make_params(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeParams:
    shutil.copytree(corpus, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def make(max_rejected: float = 0.5, workers: int = 1, **alignment: Any) -> Any:
        return SimpleNamespace(
            alignment=AlignmentConfig(**{"root": "grids", **alignment}),
            corpus=SimpleNamespace(max_rejected=max_rejected),
            compute=SimpleNamespace(workers=workers),
        )

    return make


def phones(utterance: str) -> str:
    return spoken.labels(read_textgrid(paths.ALIGNMENTS / f"s1/c1/{utterance}.TextGrid"))


def written() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(paths.ALIGNMENTS.rglob("*")) if path.is_file()}


def test_every_method_and_the_rejected(make_params: MakeParams) -> None:
    metrics = align.run(make_params()).metrics
    expected = {
        "a": "S EH V AH N",
        "b": "N OW",
        "c": "AH V DH AH S IY",
        "given": "Y",
        "human": "F AY V W ER K HH AW S M EH N",
    }
    assert {name: phones(name) for name in expected} == expected
    words = read_textgrid(paths.ALIGNMENTS / "s1/c1/c.TextGrid").words
    assert [word.label for word in words] == ["of the", "sea"]
    assert read_textgrid(paths.ALIGNMENTS / "s1/c1/given.TextGrid").phones[1] == Interval(0.1, 0.3, "Y")
    rejected = pd.read_csv(paths.ALIGNMENTS / "rejected.csv")
    assert rejected["path"].tolist() == ["s1/c1/unknown.flac", "s1/c1/mute.flac"]
    assert "зорблакс" in rejected["reason"][0]
    assert "no transcript" in rejected["reason"][1]
    assert not list(paths.ALIGNMENTS.rglob("unknown*"))
    assert pd.read_csv(paths.ALIGNMENTS / "by_rule.csv").to_numpy().tolist() == [["s1/c1/human.flac", "workhouse"]]
    counts = {"aligned": 5, "rejected": 2, "phones": 17}  # S EH V AH N, OW, DH IY, Y, F AY, M, W ER K HH AW
    counts |= {"given": 1, "events": 3, "forced": 1, "with_words_by_rule": 1}
    assert metrics == counts | {"voiced_share": metrics["voiced_share"]}
    labels = Labels.load(paths.ALIGNMENTS)
    assert labels.utterances == ["a", "b", "c", "given", "human"]
    for name in labels.utterances:  # exactly as the TextGrid has them
        assert labels.alignment(name) == read_textgrid(paths.ALIGNMENTS / f"s1/c1/{name}.TextGrid", stress="keep")
    f0 = labels.f0_table
    assert (f0.dtypes["time_s"], f0.dtypes["f0_hz"]) == (np.float64, np.float32)
    assert metrics["voiced_share"] == pytest.approx(f0["f0_hz"].notna().mean())
    assert 0.3 < metrics["voiced_share"] < 0.9
    a = f0[f0["utterance"] == "a"]
    assert a["time_s"].tolist() == [k / 100 for k in range(len(a))]

    first = written()
    align.run(make_params(workers=2))  # neither workers nor a second run change a byte
    assert written() == first
    assert len(first) == 10


def test_too_many_rejected_leave_nothing_behind(make_params: MakeParams) -> None:
    with pytest.raises(DataError, match=r"2 of 7 utterances cannot be aligned, .* s1/c1/unknown.flac: .*зорблакс"):
        align.run(make_params(max_rejected=0.2))
    assert not paths.ALIGNMENTS.exists()
    assert [path.name for path in paths.ALIGNMENTS.parent.iterdir()] == ["corpus"]


@pytest.mark.parametrize(("method", "aligned"), [("given", 1), ("events", 3), ("forced", 5)])
def test_method(make_params: MakeParams, method: str, aligned: int) -> None:
    assert align.run(make_params(method=method, max_rejected=1.0)).metrics["aligned"] == aligned


def test_stress_is_kept_where_it_is_known(make_params: MakeParams) -> None:
    align.run(make_params(stress="keep", max_rejected=1.0))
    kept = read_textgrid(paths.ALIGNMENTS / "s1/c1/a.TextGrid", stress="keep")
    assert spoken.labels(kept) == "S EH1 V AH0 N"
    rejected = pd.read_csv(paths.ALIGNMENTS / "rejected.csv")
    assert rejected["reason"].str.contains("no stress digits").all()
    assert len(rejected) == 3


def test_a_truncated_recording_is_rejected_and_a_missing_corpus_named(make_params: MakeParams) -> None:
    flac = paths.CORPUS / "s1/c1/a.flac"
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    assert align.run(make_params()).metrics["rejected"] == 3
    assert "a.flac" in pd.read_csv(paths.ALIGNMENTS / "rejected.csv")["reason"][0]
    paths.MANIFEST.unlink()
    with pytest.raises(DataError, match=r"manifest.parquet: no such file"):
        align.run(make_params())
