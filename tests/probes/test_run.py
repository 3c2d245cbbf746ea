from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score

from phonoscope.config.probes import BootstrapConfig, PhoneConfig, ProbeConfig
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors, write_safetensors
from phonoscope.probes.run import COLUMNS, ProbeResult, probe_codec
from phonoscope.probes.store import TaskResult

from .planted import Corpus, make_corpus

CONFIG = ProbeConfig(bootstrap=BootstrapConfig(samples=200), permutations=2, matched_dims=2)


def random_codebook(size: int = 64, dims: int = 12, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(size, dims)).astype(np.float32)


def probe(corpus: Corpus, folder: Path, config: ProbeConfig = CONFIG, workers: int = 1) -> ProbeResult:
    tokens = corpus.write(folder / "tokens.parquet")
    sides = corpus.train, corpus.evaluation
    return probe_codec(tokens, corpus.codebooks, *sides, corpus.speakers, config, codec="toy", workers=workers)


def row(result: ProbeResult, layer: int, metric: str, task: str = "phone") -> pd.Series:
    rows = result.rows
    return rows[(rows.layer == layer) & (rows.task == task) & (rows.metric == metric)].iloc[0]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus(random_codebook())


@pytest.fixture(scope="module")
def result(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ProbeResult:
    return probe(corpus, tmp_path_factory.mktemp("run"))


def test_rows_are_complete_and_finite(result: ProbeResult) -> None:
    assert tuple(result.rows.columns) == COLUMNS
    names = {"phone": ["macro_f1", "accuracy"], "speaker": ["macro_f1", "accuracy"], "pitch": ["r2", "mae_hz"]}
    expected = {
        ("toy", layer, task, metric + suffix)
        for task, metrics in names.items()
        for metric in metrics
        for layer in (1, 2)
        for suffix in ("", "_matched")
    }
    assert set(result.rows[["codec", "layer", "task", "metric"]].itertuples(index=False, name=None)) == expected
    assert len(result.rows) == len(expected)
    numbers = result.rows[["value", "ci_low", "ci_high", "permuted", "lookup", "majority"]]
    assert np.isfinite(numbers.to_numpy()).all()
    assert set(result.rows["converged"]) == {"true"}
    assert (result.rows["ci_low"] <= result.rows["value"]).all()
    assert (result.rows["value"] <= result.rows["ci_high"]).all()


@pytest.mark.parametrize("layer", [1, 2])
def test_scores_equal_scikit_learn_on_the_frames(corpus: Corpus, result: ProbeResult, layer: int) -> None:
    held_out = corpus.frames_of(corpus.evaluation)
    codes = corpus.codes[:, layer - 1]
    phones = np.array(corpus.phone)
    keep = held_out & (phones != "SIL")
    fitted = result.tasks["phone"].probes[layer - 1]
    predicted = np.array(fitted.classes)[fitted.predict_codes(codes[keep], corpus.codebooks[0])]
    expected = f1_score(phones[keep], predicted, average="macro", zero_division=0)
    assert row(result, layer, "macro_f1")["value"] == pytest.approx(expected, abs=1e-9)
    assert row(result, layer, "accuracy")["value"] == pytest.approx(accuracy_score(phones[keep], predicted), abs=1e-9)

    voiced = held_out & np.isfinite(corpus.f0_hz)
    f0 = corpus.f0_hz[voiced].astype(np.float64)
    values = result.tasks["pitch"].probes[layer - 1].predict_codes(codes[voiced], corpus.codebooks[0])
    assert row(result, layer, "r2", "pitch")["value"] == pytest.approx(r2_score(f0, values), abs=1e-9)
    assert row(result, layer, "mae_hz", "pitch")["value"] == pytest.approx(mean_absolute_error(f0, values), abs=1e-9)


def test_controls_equal_their_definition_on_the_frames(corpus: Corpus, result: ProbeResult) -> None:
    frames = pd.DataFrame({"code": corpus.codes[:, 0], "phone": corpus.phone, "f0": corpus.f0_hz.astype(np.float64)})
    held_out = corpus.frames_of(corpus.evaluation)
    spoken = frames["phone"] != "SIL"
    train, evaluation = frames[~held_out & spoken], frames[held_out & spoken]
    best = train.groupby("code")["phone"].agg(lambda phones: phones.value_counts().sort_index().idxmax())
    found = row(result, 1, "accuracy")
    assert found["lookup"] == pytest.approx(np.mean(evaluation["code"].map(best) == evaluation["phone"]), abs=1e-12)
    majority = train["phone"].value_counts().idxmax()
    assert found["majority"] == pytest.approx(np.mean(evaluation["phone"] == majority), abs=1e-12)

    voiced, unheard = frames[~held_out].dropna(), frames[held_out].dropna()
    means = unheard["code"].map(voiced.groupby("code")["f0"].mean())
    found = row(result, 1, "r2", "pitch")
    assert found["lookup"] == pytest.approx(r2_score(unheard["f0"], means), abs=1e-9)
    assert found["majority"] <= 0
    constant = np.full(len(unheard), voiced["f0"].mean())
    expected = mean_absolute_error(unheard["f0"], constant)
    assert row(result, 1, "mae_hz", "pitch")["majority"] == pytest.approx(expected, abs=1e-9)


def test_planted_structure_is_recovered(result: ProbeResult) -> None:
    phone, pitch = row(result, 1, "macro_f1"), row(result, 1, "r2", "pitch")
    assert phone["value"] > 0.7  # chance is 0.17
    assert phone["value"] == pytest.approx(phone["lookup"], abs=0.05)  # the rows tell all that the codes know
    assert phone["permuted"] < phone["value"] - 0.2
    assert pitch["value"] > 0.9
    assert pitch["permuted"] < 0.6
    assert row(result, 1, "mae_hz", "pitch")["value"] == pytest.approx(3 * np.sqrt(2 / np.pi), rel=0.1)


def test_a_speaker_who_is_heard_in_the_codes_is_recognised_on_eval(corpus: Corpus, tmp_path: Path) -> None:
    # in an order in which the utterances of eval, counted from 0, are other speakers' than those of train
    order = np.random.default_rng(2).permutation(np.arange(len(corpus.utterances)) % 4)
    codes = corpus.codes.copy()
    codes[:, 0] = order[corpus.utterance] * 16 + codes[:, 0] % 16
    speakers = {name: f"s{speaker}" for name, speaker in zip(corpus.utterances, order, strict=True)}
    found = probe(replace(corpus, codes=codes, speakers=speakers), tmp_path)
    assert row(found, 1, "accuracy", "speaker")["lookup"] == 1
    assert row(found, 1, "macro_f1", "speaker")["value"] > 0.5  # 4 x 16 random rows in 12 dimensions; chance is 0.25
    eval_frames = found.tasks["speaker"].statistics[0].true.sum(axis=0)
    assert eval_frames.tolist() == [150.0 * np.sum(order[30:] == speaker) for speaker in range(4)]


def test_a_layer_without_information_is_at_chance(result: ProbeResult) -> None:
    for task, classes in (("phone", 6), ("speaker", 4)):
        found = row(result, 2, "accuracy", task)
        assert found["value"] == pytest.approx(1 / classes, abs=0.06)
        assert found["permuted"] == pytest.approx(found["value"], abs=0.06)
    assert row(result, 2, "r2", "pitch")["value"] == pytest.approx(0, abs=0.03)


def test_permuted_labels_are_at_chance(corpus: Corpus, tmp_path: Path) -> None:
    labels = np.array(corpus.phone)
    spoken = labels != "SIL"
    labels[spoken] = np.random.default_rng(1).permutation(labels[spoken])
    found = row(probe(replace(corpus, phone=labels.tolist()), tmp_path), 1, "accuracy")
    assert found["ci_low"] < 1 / 6 + 0.02
    assert found["value"] < 0.25


def test_on_a_random_codebook_the_probe_is_its_permuted_control(corpus: Corpus, tmp_path: Path) -> None:
    """Same codes, same labels, rows that know nothing of them: no gain from geometry, though lookup is high."""
    blind = replace(corpus, codebooks=[random_codebook(seed=s) for s in (8, 9)])
    found = row(probe(blind, tmp_path, CONFIG.model_copy(update={"permutations": 6})), 1, "macro_f1")
    assert found["value"] == pytest.approx(found["permuted"], abs=0.12)
    assert found["lookup"] > found["value"] + 0.2


def test_few_dimensions_alone_push_a_probe_below_the_lookup(corpus: Corpus, tmp_path: Path) -> None:
    """The dimension confound: identical information, random rows of 4, 16 and K dimensions."""
    scores = []
    for dims in (4, 16, 64):
        folder = tmp_path / str(dims)
        folder.mkdir()
        rows = random_codebook(dims=dims, seed=dims)
        scores.append(row(probe(replace(corpus, codebooks=[rows, rows]), folder), 1, "accuracy"))
    values, lookup = [found["value"] for found in scores], scores[0]["lookup"]
    assert {found["lookup"] for found in scores} == {lookup}
    assert values[0] < 0.7 * lookup
    assert values[0] < values[1] < values[2]
    assert values[2] == pytest.approx(lookup, abs=0.02)


def test_rows_of_unused_codes_stay_out_of_every_control(corpus: Corpus, result: ProbeResult, tmp_path: Path) -> None:
    junk = np.full((16, 12), 1e6, dtype=np.float32)
    padded = replace(corpus, codebooks=[np.vstack([book, junk]) for book in corpus.codebooks])
    pd.testing.assert_frame_equal(probe(padded, tmp_path).rows, result.rows, rtol=1e-6)


def test_the_matched_probe_sees_only_its_dimensions(corpus: Corpus, tmp_path: Path) -> None:
    result = probe(corpus, tmp_path, CONFIG.model_copy(update={"matched_dims": 12}))
    full, matched = row(result, 1, "accuracy"), row(result, 1, "accuracy_matched")
    assert matched["value"] == pytest.approx(full["value"], abs=0.02)
    reduced = row(probe(corpus, tmp_path), 1, "accuracy_matched")
    assert reduced["value"] < full["value"] - 0.1
    assert reduced["lookup"] == full["lookup"]


def test_silence_is_a_class_only_on_request(corpus: Corpus, result: ProbeResult, tmp_path: Path) -> None:
    assert "SIL" not in result.tasks["phone"].probes[0].classes
    config = CONFIG.model_copy(update={"phone": PhoneConfig(silence=True)})
    assert "SIL" in probe(corpus, tmp_path, config).tasks["phone"].probes[0].classes


def test_classes_that_train_lacks_count_as_errors(
    corpus: Corpus, result: ProbeResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    phones = np.array(corpus.phone, dtype=object)
    changed = corpus.frames_of(corpus.evaluation) & (phones == "P0")
    phones[changed] = "AX"
    other = probe(replace(corpus, phone=phones.tolist()), tmp_path)
    assert other.tasks["phone"].unseen == {"AX": int(changed.sum())}
    assert "AX" in caplog.text
    before, after = row(result, 1, "accuracy"), row(other, 1, "accuracy")
    assert after["value"] < before["value"]
    statistics = other.tasks["phone"].statistics[0]
    assert statistics.true.sum() == result.tasks["phone"].statistics[0].true.sum()


def test_tasks_that_cannot_be_posed_are_left_out(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = replace(corpus, speakers=dict.fromkeys(corpus.utterances, "s"), f0_hz=np.full_like(corpus.f0_hz, np.nan))
    result = probe(alone, tmp_path)
    assert list(result.tasks) == ["phone"]
    assert "speaker: left out" in caplog.text
    assert "pitch: left out" in caplog.text
    with pytest.raises(DataError, match="no task can be posed"):
        probe(replace(alone, phone=[None] * len(corpus.phone)), tmp_path)


def test_an_utterance_without_speaker_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'u000' of the split is not in the manifest"):
        probe(replace(corpus, speakers={}), tmp_path)


def test_codebooks_of_several_sizes_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    books = [random_codebook(), random_codebook(32)]
    with pytest.raises(DataError, match=r"one size; there are \[32, 64\]"):
        probe(replace(corpus, codebooks=books), tmp_path)


def test_unconverged_fits_are_flagged(corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = CONFIG.model_copy(update={"phone": PhoneConfig(max_iter=2)})
    result = probe(corpus, tmp_path, config)
    assert row(result, 1, "accuracy")["converged"] == "false"
    assert row(result, 1, "accuracy", "speaker")["converged"] == "true"
    assert "phone layer 1: not converged" in caplog.text


def written(result: ProbeResult, folder: Path) -> dict[str, bytes]:
    for task, found in result.tasks.items():
        write_safetensors(folder / f"{task}.safetensors", *found.to_tensors())
    result.rows.to_csv(folder / "rows.csv")
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix != ".parquet"}


def test_the_result_does_not_depend_on_the_workers(corpus: Corpus, result: ProbeResult, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert written(result, one) == written(probe(corpus, two, workers=2), two)


def test_a_task_survives_its_file(result: ProbeResult, tmp_path: Path) -> None:
    for task, before in result.tasks.items():
        write_safetensors(tmp_path / f"{task}.safetensors", *before.to_tensors())
        after = TaskResult.from_tensors(*read_safetensors(tmp_path / f"{task}.safetensors"))
        assert after.utterances == before.utterances
        assert after.unseen == before.unseen
        for kind in ("probes", "tables", "statistics"):
            for old, new in zip(getattr(before, kind), getattr(after, kind), strict=True):
                for field in fields(old):
                    np.testing.assert_array_equal(getattr(new, field.name), getattr(old, field.name))
        json.dumps(before.to_tensors()[1])


def test_statistics_in_the_file_give_the_scores_of_the_csv(result: ProbeResult) -> None:
    again = TaskResult.from_tensors(*result.tasks["speaker"].to_tensors())
    value = again.statistics[1].scores()["macro_f1"][0]
    assert value == row(result, 2, "macro_f1", "speaker")["value"]
