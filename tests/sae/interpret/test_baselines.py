"""Baselines of the phone detectors, on planted frames and against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from phonoscope.sae.interpret.baselines import HIGH_AUROC, Scored, Segments, baselines, of_columns, sparse_probes
from phonoscope.sae.interpret.groups import Groups
from phonoscope.sae.interpret.selectivity import auroc

from .planted import DETECTORS, PHONES, plant

PLANTED = plant(speakers=8, utterances=6)
SEGMENTS = Segments.of(PLANTED.index, fewest=3)


def rotated(seed: int = 0) -> np.ndarray:
    """The planted features in random directions of 40 dimensions, in noise: one dimension alone tells little."""
    rng = np.random.default_rng(seed)
    mixed: np.ndarray = PLANTED.activations.toarray() @ rng.normal(size=(PLANTED.activations.shape[1], 40))
    return mixed + rng.normal(0, 3, mixed.shape)


def dense(values: np.ndarray, *, signed: bool) -> Scored:
    columns = values.T.astype(np.float32)
    return of_columns(lambda part: columns[part], len(columns), SEGMENTS, signed=signed)


@pytest.mark.parametrize("seed", range(3))
def test_dense_areas_are_those_of_scikit_learn_and_of_sparse_activations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, code = rng.normal(size=(60, 5)).round(1), rng.integers(-1, 3, 60)
    groups, taken = Groups(code, ("a", "b", "c")), code >= 0
    area = auroc(values, groups)
    expected = [[roc_auc_score(code[taken] == g, column[taken]) for g in range(3)] for column in values.T]
    assert area == pytest.approx(np.array(expected))
    positive = np.maximum(values, 0)
    assert auroc(positive, groups) == pytest.approx(auroc(sp.csr_array(positive), groups))


def test_a_direction_that_speaks_by_low_values_counts_where_signs_do() -> None:
    values = -PLANTED.activations.toarray()
    assert dense(values, signed=True).row() == {"dims": 12, "phones_scored": 3, "phones_above": 3, "mean_auroc": 1.0}
    assert dense(values, signed=False).row()["phones_above"] == 0


def test_every_representation_is_scored_on_the_same_segments() -> None:
    silent = sp.csr_array(PLANTED.activations.shape, dtype=np.float32)
    fired = {"sae": PLANTED.activations, "untrained sae": silent}
    table, sparse = baselines(rotated(), fired, PLANTED.index, fewest=3, seed=0)
    rows: Any = table.set_index("representation")
    assert rows.index.tolist() == [
        *("sae", "untrained sae", "raw dimensions", "principal components", "random directions", "linear probe")
    ]
    assert rows["dims"].tolist() == [12, 12, 40, 40, 12, 3]
    assert (rows["phones_scored"] == len(PHONES)).all()
    assert rows.loc[["sae", "linear probe"], "phones_above"].tolist() == [3, 3]
    assert rows.loc["untrained sae", ["phones_above", "mean_auroc"]].tolist() == [0, 0.5]
    assert sparse["k"].tolist() == [1, 2, 5, 16] * 2
    assert sparse["representation"].tolist() == ["sae"] * 4 + ["raw dimensions"] * 4
    raw = sparse[sparse["representation"] == "raw dimensions"].set_index("k")["mean_auroc"]
    assert raw[16] > raw[1]
    again = baselines(rotated(), fired, PLANTED.index, fewest=3, seed=0)
    assert again[0].equals(table)


def test_the_choice_is_on_train_alone() -> None:
    """One column tells the phone on train only, another on eval only."""
    train = (PLANTED.index["split"] == "train").to_numpy()
    is_s = PLANTED.phone == "S"
    scored = dense(np.stack([is_s & train, is_s & ~train], axis=1), signed=False)
    phone = PHONES.index("S")
    assert scored.areas.detectors()[phone] == 0
    assert scored.areas.evaluation[0, phone] == 0.5 < HIGH_AUROC


def test_a_sparse_probe_is_a_regression_on_the_best_columns_of_train() -> None:
    values = PLANTED.activations.toarray()
    scored = dense(values, signed=False)
    rows = {row["k"]: row for row in sparse_probes("raw", scored, SEGMENTS, (1, 3))}
    assert rows[1]["phones"] == 3
    there = SEGMENTS.phones.code >= 0
    fit_on, test_on = there & SEGMENTS.train, there & ~SEGMENTS.train
    peaks, areas = np.maximum.reduceat(values, SEGMENTS.starts, axis=0), []
    for number, phone in enumerate(PHONES):
        positive = SEGMENTS.phones.code == number
        columns = np.argsort(-scored.areas.train[:, number], kind="stable")[:3]
        assert columns[0] == DETECTORS[phone]
        chosen = peaks[:, columns] / np.maximum(peaks[fit_on][:, columns].std(axis=0), 1e-6)
        probe = LogisticRegression(class_weight="balanced").fit(chosen[fit_on], positive[fit_on])
        areas.append(roc_auc_score(positive[test_on], probe.decision_function(chosen[test_on])))
    assert rows[3]["mean_auroc"] == pytest.approx(np.mean(areas))


def test_a_site_without_phones_has_no_rows() -> None:
    tables = baselines(rotated(), {"sae": PLANTED.activations}, PLANTED.index.assign(phone=""), fewest=3, seed=0)
    assert [len(table) for table in tables] == [0, 0]
    assert tables[0].columns.tolist() == ["representation", "dims", "phones_scored", "phones_above", "mean_auroc"]
