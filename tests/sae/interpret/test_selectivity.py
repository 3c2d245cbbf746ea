from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from phonoscope.sae.interpret.groups import Groups, group
from phonoscope.sae.interpret.selectivity import auroc, feature_columns, phone_table, precision, selectivity

from .planted import DEAD, DETECTORS, PHONES, plant


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.02, 0.3, 1.0]), st.integers(1, 5))
def test_area_is_scikit_learns_with_ties_and_zeros(seed: int, density: float, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.ceil(rng.random((80, 6)) * levels) * (rng.random((80, 6)) < density)
    code = rng.integers(-1, 3, 80)
    code[:3] = [0, 1, 2]
    area = auroc(sp.csr_array(values.astype(np.float32)), Groups(code, ("a", "b", "c")))
    taken = code >= 0
    for feature in range(6):
        for number in range(3):
            expected = roc_auc_score(code[taken] == number, values[taken, feature])
            assert area[feature, number] == pytest.approx(expected, abs=1e-12)


def test_area_is_a_half_without_frames_or_without_others() -> None:
    values = sp.csr_array(np.array([[1.0], [2.0]], dtype=np.float32))
    assert auroc(values, Groups(np.array([0, 0]), ("a", "b"))).tolist() == [[0.5, 0.5]]
    assert auroc(values[:0], Groups(np.zeros(0, dtype=np.int64), ("a", "b"))).tolist() == [[0.5, 0.5]]


def test_planted_detectors_are_found_on_train_and_reported_on_eval() -> None:
    planted = plant()
    phones = group(planted.index["phone"], leave_out=("SIL",))
    train = (planted.index["split"] == "train").to_numpy()
    areas = selectivity(planted.activations, phones, train, fewest=5)
    assert areas.phones == PHONES
    assert areas.detectors().tolist() == [DETECTORS[phone] for phone in PHONES]
    columns: Any = feature_columns(areas)
    for phone, feature in DETECTORS.items():
        assert columns.loc[feature, ["best_phone", "detects"]].tolist() == [phone, phone]
        evaluation = ~train & (phones.code >= 0)
        expected = roc_auc_score(
            planted.phone[evaluation] == phone, planted.activations[evaluation][:, [feature]].toarray().ravel()
        )
        assert columns.loc[feature, "auroc"] == pytest.approx(expected) == pytest.approx(1.0)
    assert columns.loc[DEAD, ["best_phone", "auroc", "detects"]].tolist() == ["", 0.5, ""]


def test_the_choice_does_not_look_at_eval() -> None:
    """Feature 0 tells the phone on train only, feature 1 on eval only."""
    phones = Groups(np.tile([0, 1], 20), ("a", "b"))
    train = np.arange(40) < 20
    is_a = phones.code == 0
    values = np.stack([is_a & train, is_a & ~train], axis=1).astype(np.float32)
    areas = selectivity(sp.csr_array(values), phones, train, fewest=1)
    assert areas.detectors()[0] == 0
    assert (areas.train[0, 0], areas.evaluation[0, 0]) == (1.0, 0.5)


def test_rare_phones_are_neither_chosen_nor_scored() -> None:
    planted = plant(speakers=2, utterances=3)
    phones = group(planted.index["phone"].replace("T", "S"), leave_out=("SIL",))
    code = phones.code.copy()
    code[np.flatnonzero(code == 0)[3:]] = -1
    train = (planted.index["split"] == "train").to_numpy()
    areas = selectivity(planted.activations, Groups(code, phones.names), train, fewest=4)
    table: Any = phone_table(areas, np.zeros(2), np.zeros(planted.activations.shape[1])).set_index("phone")
    assert table.loc["AA", ["feature", "auroc", "scored"]].tolist() == [-1, 0.5, False]
    assert table.loc["S", "scored"]
    assert set(feature_columns(areas)["best_phone"]) <= {"S", ""}


def test_precision_counts_the_top_windows_on_the_phone() -> None:
    windows = pd.DataFrame({"feature": [0, 0, 0, 2], "row": [0, 1, 2, 4]})
    carried = np.array(["S", "S", "T", "S", "", "T"])
    assert precision(windows, carried, np.arange(3), ["S", "S", ""]).tolist() == [2 / 3, 0.0, 1.0]
    assert precision(windows[:0], carried, np.array([0]), ["S"]).tolist() == [0.0]
