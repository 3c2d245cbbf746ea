from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score

from phonoscope.config.probes import ClassifierConfig, ProbeConfig
from phonoscope.data import Labels, Tokens
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors, write_safetensors
from phonoscope.probes import ProbeResult, read_frames, run
from phonoscope.probes.pose import group_utterances
from phonoscope.probes.schema import COLUMNS
from phonoscope.probes.scores import ClassStatistics
from phonoscope.probes.store import TaskResult
from phonoscope.probes.tasks import find_tasks

from .planted import Corpus, make_corpus

CONFIG = ProbeConfig(codebook_permutations=2, ranks=(2,))


def brief(*probes: str, tasks: tuple[str, ...] = ("phone",), **changes: object) -> ProbeConfig:
    """Some probes of the first layer."""
    return CONFIG.model_copy(update={"tasks": tasks, "layers": (1,), "probes": probes, **changes})


def random_codebook(size: int = 64, dims: int = 12, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(size, dims)).astype(np.float32)


def score(result: ProbeResult, layer: int, measure: str, task: str = "phone", probe: str = "linear") -> pd.Series:
    rows = result.table
    chosen = (rows.layer == layer) & (rows.task == task) & (rows.measure == measure) & (rows.probe == probe)
    assert chosen.sum() == 1
    return rows[chosen].iloc[0]


def value(result: ProbeResult, layer: int, measure: str, task: str = "phone", probe: str = "linear") -> float:
    return float(score(result, layer, measure, task, probe)["value"])


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus(random_codebook())


@pytest.fixture(scope="module")
def result(corpus: Corpus) -> ProbeResult:
    return corpus.probe(CONFIG)


def test_rows_are_complete_and_finite(result: ProbeResult) -> None:
    table = result.table
    assert tuple(table.columns) == COLUMNS
    measures = {"phone": ("macro_f1", "accuracy"), "speaker": ("macro_f1", "accuracy"), "pitch": ("r2", "mae")}
    kinds = [(task, measure) for task, names in measures.items() for measure in names]
    expected = [
        ("toy", task, "utterances", "layer", layer, probe, measure)
        for (task, measure), layer, probe in product(kinds, (1, 2), ("linear", "rank_2", *CONFIG.probes[2:]))
        if (task, probe) != ("pitch", "rank_2")
    ]
    assert sorted(table[list(COLUMNS[:7])].itertuples(index=False, name=None)) == sorted(expected)
    assert np.isfinite(table["value"]).all()
    assert set(table["converged"]) == {"true"}
    control = table["probe"].isin(["lookup", "majority"])
    assert table.loc[control, ["low", "high", "null"]].isna().all(axis=None)
    scored = table[~control]
    assert ((scored["low"] <= scored["value"]) & (scored["value"] <= scored["high"])).all()


@pytest.mark.parametrize("layer", [1, 2])
def test_scores_equal_scikit_learn_on_the_frames(corpus: Corpus, result: ProbeResult, layer: int) -> None:
    held_out = corpus.held_out
    codes = corpus.codes[:, layer - 1]
    phones = np.array(corpus.phone)
    keep = held_out & (phones != "SIL")
    fitted = result.tasks["phone"].probes[layer - 1]
    predicted = np.array(fitted.classes)[fitted.predict(corpus.codebooks[0])[codes[keep]]]
    expected = f1_score(phones[keep], predicted, average="macro", zero_division=0)
    assert value(result, layer, "macro_f1") == pytest.approx(expected, abs=1e-9)
    assert value(result, layer, "accuracy") == pytest.approx(accuracy_score(phones[keep], predicted), abs=1e-9)

    voiced = held_out & np.isfinite(corpus.f0_hz)
    f0 = corpus.f0_hz[voiced].astype(np.float64)
    values = result.tasks["pitch"].probes[layer - 1].predict(corpus.codebooks[0])[codes[voiced]]
    assert value(result, layer, "r2", "pitch") == pytest.approx(r2_score(f0, values), abs=1e-9)
    assert value(result, layer, "mae", "pitch") == pytest.approx(mean_absolute_error(f0, values), abs=1e-9)


def test_controls_equal_their_definition_on_the_frames(corpus: Corpus, result: ProbeResult) -> None:
    frames = pd.DataFrame({"code": corpus.codes[:, 0], "phone": corpus.phone, "f0": corpus.f0_hz.astype(np.float64)})
    held_out = corpus.held_out
    spoken = frames["phone"] != "SIL"
    train, evaluation = frames[~held_out & spoken], frames[held_out & spoken]
    best = train.groupby("code")["phone"].agg(lambda phones: phones.value_counts().sort_index().idxmax())
    hits = np.mean(evaluation["code"].map(best) == evaluation["phone"])
    assert value(result, 1, "accuracy", probe="lookup") == pytest.approx(hits, abs=1e-12)
    hits = np.mean(evaluation["phone"] == train["phone"].value_counts().idxmax())
    assert value(result, 1, "accuracy", probe="majority") == pytest.approx(hits, abs=1e-12)

    voiced, unheard = frames[~held_out].dropna(), frames[held_out].dropna()
    means = unheard["code"].map(voiced.groupby("code")["f0"].mean())
    assert value(result, 1, "r2", "pitch", "lookup") == pytest.approx(r2_score(unheard["f0"], means), abs=1e-9)
    assert value(result, 1, "r2", "pitch", "majority") <= 0
    expected = mean_absolute_error(unheard["f0"], np.full(len(unheard), voiced["f0"].mean()))
    assert value(result, 1, "mae", "pitch", "majority") == pytest.approx(expected, abs=1e-9)


def test_counting_as_the_table_is_read_gives_the_bits_of_all_frames_at_once(
    corpus: Corpus, result: ProbeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run, "_counts_suffice", lambda config: False)
        whole = corpus.probe(CONFIG)
    monkeypatch.setitem(Tokens.batches.__kwdefaults__, "batch_frames", 700)
    for streamed in (result, corpus.probe(CONFIG)):
        pd.testing.assert_frame_equal(streamed.table, whole.table, check_exact=True)
        for task, saved in whole.tasks.items():
            (expected, facts), (tensors, metadata) = saved.to_tensors(), streamed.tasks[task].to_tensors()
            assert metadata == facts
            assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_frames_that_are_never_scored_are_counted_and_forgotten(corpus: Corpus) -> None:
    tasks = find_tasks(CONFIG.tasks)
    labels = Labels.from_frames(corpus.names, corpus.phone, corpus.f0_hz)
    groups = group_utterances(tasks, corpus.manifest, corpus.split, CONFIG)
    frames = read_frames(corpus.tokens, labels, corpus.manifest, tasks, groups)
    assert len(frames.utterances) == corpus.held_out.sum()
    assert len(groups.first) == 1  # train, all of it sampled
    spoken = ~corpus.held_out & (np.array(corpus.phone) != "SIL")
    ((_, table),) = frames.counted["phone"][0]
    assert table.frames.tolist() == np.bincount(corpus.codes[spoken, 0], minlength=64).tolist()


def test_planted_structure_is_recovered(result: ProbeResult) -> None:
    phone = value(result, 1, "macro_f1")
    assert phone > 0.7  # chance is 0.17
    # the rows tell all that the codes know
    assert phone == pytest.approx(value(result, 1, "macro_f1", probe="lookup"), abs=0.05)
    assert value(result, 1, "macro_f1", probe="permuted") < phone - 0.2
    assert value(result, 1, "r2", "pitch") > 0.9
    assert value(result, 1, "r2", "pitch", "permuted") < 0.6
    assert value(result, 1, "mae", "pitch") == pytest.approx(3 * np.sqrt(2 / np.pi), rel=0.1)


def test_a_speaker_who_is_heard_in_the_codes_is_recognised_on_eval(corpus: Corpus) -> None:
    # in an order in which the utterances of eval, counted from 0, are other speakers' than those of train
    order = np.random.default_rng(2).permutation(np.arange(len(corpus.utterances)) % 4)
    codes = corpus.codes.copy()
    codes[:, 0] = order[corpus.utterance] * 16 + codes[:, 0] % 16
    speakers = {name: f"s{speaker}" for name, speaker in zip(corpus.utterances, order, strict=True)}
    result = replace(corpus, codes=codes, speakers=speakers).probe(brief("linear", "lookup", tasks=("speaker",)))
    assert value(result, 1, "accuracy", "speaker", "lookup") == 1
    assert value(result, 1, "macro_f1", "speaker") > 0.5  # 4 x 16 random rows in 12 dimensions; chance is 0.25
    statistics = result.tasks["speaker"].statistics[0]
    assert isinstance(statistics, ClassStatistics)
    heard = corpus.held_out & (np.array(corpus.phone) != "SIL")  # silence is left out
    assert statistics.true.sum(axis=0).tolist() == np.bincount(order[corpus.utterance[heard]]).tolist()


def test_a_layer_without_information_is_at_chance(result: ProbeResult) -> None:
    for task, classes in (("phone", 6), ("speaker", 4)):
        accuracy = value(result, 2, "accuracy", task)
        assert accuracy == pytest.approx(1 / classes, abs=0.06)
        assert value(result, 2, "accuracy", task, "permuted") == pytest.approx(accuracy, abs=0.06)
    assert value(result, 2, "r2", "pitch") == pytest.approx(0, abs=0.03)


def test_on_a_random_codebook_the_probe_is_its_permuted_control(corpus: Corpus) -> None:
    """Same codes, same labels, rows that know nothing of them: no gain from geometry, though lookup is high."""
    blind = replace(corpus, codebooks=[random_codebook(seed=s) for s in (8, 9)])
    result = blind.probe(brief("linear", "permuted", "lookup", codebook_permutations=6))
    linear = value(result, 1, "macro_f1")
    assert linear == pytest.approx(value(result, 1, "macro_f1", probe="permuted"), abs=0.12)
    assert value(result, 1, "macro_f1", probe="lookup") > linear + 0.2


def test_few_dimensions_alone_push_a_probe_below_the_lookup(corpus: Corpus, result: ProbeResult) -> None:
    """The dimension confound: identical information, random rows of 4, 16 and K dimensions, and few directions."""
    books = [random_codebook(dims=dims, seed=dims) for dims in (4, 16, 64)]
    results = [replace(corpus, codebooks=[rows, rows]).probe(brief("linear", "lookup")) for rows in books]
    values = [value(result, 1, "accuracy") for result in results]
    (lookup,) = {value(result, 1, "accuracy", probe="lookup") for result in results}
    assert values[0] < 0.7 * lookup
    assert values[0] < values[1] < values[2]
    assert values[2] == pytest.approx(lookup, abs=0.02)
    whole = corpus.probe(brief("linear", "rank", ranks=(1, 2, 5)))
    full = value(whole, 1, "accuracy")
    assert value(whole, 1, "accuracy", probe="rank_5") == pytest.approx(full, abs=0.04)  # six classes span five
    assert value(whole, 1, "accuracy", probe="rank_1") < value(whole, 1, "accuracy", probe="rank_2") < full - 0.05


def test_rows_of_unused_codes_stay_out_of_every_control(corpus: Corpus, result: ProbeResult) -> None:
    junk = np.full((16, 12), 1e6, dtype=np.float32)
    padded = replace(corpus, codebooks=[np.vstack([book, junk]) for book in corpus.codebooks])
    pd.testing.assert_frame_equal(padded.probe(CONFIG).table, result.table, rtol=1e-6)


def test_classes_that_train_lacks_count_as_errors(
    corpus: Corpus, result: ProbeResult, caplog: pytest.LogCaptureFixture
) -> None:
    phones = np.array(corpus.phone, dtype=object)
    changed = corpus.held_out & (phones == "P0")
    phones[changed] = "AX"
    other = replace(corpus, phone=phones.tolist()).probe(brief("linear"))
    assert other.tasks["phone"].unseen == {"AX": int(changed.sum())}
    assert "AX" in caplog.text
    assert value(other, 1, "accuracy") < value(result, 1, "accuracy")
    frames = [each.tasks["phone"].statistics[0].frames.sum() for each in (other, result)]
    assert frames[0] == frames[1]


def test_tasks_that_cannot_be_posed_are_left_out(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    alone = replace(corpus, speakers=dict.fromkeys(corpus.utterances, "s"), f0_hz=np.full_like(corpus.f0_hz, np.nan))
    config = brief("linear", tasks=CONFIG.tasks)
    assert list(alone.probe(config).tasks) == ["phone"]
    assert "speaker: left out" in caplog.text
    assert "pitch: left out" in caplog.text
    with pytest.raises(DataError, match="no task can be posed"):
        replace(alone, phone=[None] * len(corpus.phone)).probe(config)


def test_unconverged_fits_are_flagged(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    result = corpus.probe(brief("linear", tasks=("phone", "pitch"), classifier=ClassifierConfig(max_iter=2)))
    assert score(result, 1, "accuracy")["converged"] == "false"
    assert score(result, 1, "r2", "pitch")["converged"] == "true"
    assert "phone utterances, layer 1: a fit has not converged" in caplog.text


def test_a_task_survives_its_file(result: ProbeResult, tmp_path: Path) -> None:
    for task, before in result.tasks.items():
        write_safetensors(tmp_path / f"{task}.safetensors", *before.to_tensors())
        after = TaskResult.from_tensors(*read_safetensors(tmp_path / f"{task}.safetensors"))
        assert (after.layers, after.utterances, after.unseen) == ((1, 2), before.utterances, before.unseen)
        for kind in ("probes", "tables", "statistics"):
            for old, new in zip(getattr(before, kind), getattr(after, kind), strict=True):
                for field in fields(old):
                    np.testing.assert_array_equal(getattr(new, field.name), getattr(old, field.name))
        metric = "r2" if task == "pitch" else "macro_f1"
        assert after.statistics[1].scores()[metric] == value(result, 2, metric, task)
