from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from phonoscope.config.probes import DepthConfig
from phonoscope.probes import CodecInputs, ProbeResult
from phonoscope.probes.controls import permute_rows
from phonoscope.probes.pose import sample_utterances

from .deep import PHONES, Planted, plant, quick


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def result(planted: Planted) -> ProbeResult:
    return planted.probe(quick(tasks=("phone", "speaker")))


def pick(result: ProbeResult, measure: str, **where: object) -> pd.DataFrame:
    rows = result.table[result.table["measure"] == measure]
    for column, value in ({"split": "utterances"} | where).items():
        rows = rows[rows[column] == value]
    return rows.sort_values("layer")


@pytest.mark.parametrize(("task", "at"), [("phone", 0), ("speaker", 1)])
@pytest.mark.parametrize(
    ("probe", "measure", "least", "most"),
    [
        *(("linear", "accuracy", 0.8, 0.4), ("linear", "macro_f1", 0.8, 0.4), ("mlp", "accuracy", 0.8, 0.4)),
        *(
            ("table", "mi_corrected_bits", 0.8, 0.05),
            ("table", "mi_held_out_bits", 0.8, 0.05),
            ("linear", "mdl_compression", 1.3, 1.05),
        ),
    ],
)
def test_each_label_is_found_in_the_layer_that_was_given_it(
    result: ProbeResult, task: str, at: int, probe: str, measure: str, least: float, most: float
) -> None:
    rows = pick(result, measure, task=task, input="layer", probe=probe)
    assert rows["layer"].tolist() == [1, 2, 3]
    values = rows["value"].to_numpy()
    assert values[at] > least
    assert np.delete(values, at).max() < most
    if measure != "mi_corrected_bits":  # whose bias is not known
        assert ((rows["low"] <= values) & (values <= rows["high"])).all()


def test_sums_and_latents_hold_what_their_layers_hold(result: ProbeResult) -> None:
    for task in ("phone", "speaker"):
        summed = pick(result, "accuracy", task=task, input="cumulative", probe="linear")
        assert summed["layer"].tolist() == [2, 3]
        assert (summed["value"] > 0.75).all()
        assert pick(result, "accuracy", task=task, input="latent", probe="linear")["value"].item() > 0.7


def test_pooled_utterances_tell_the_speaker_better_than_frames(result: ProbeResult) -> None:
    for split in ("utterances", "texts"):
        frame = pick(result, "accuracy", task="speaker", input="layer", probe="linear", split=split, layer=2)
        pooled = pick(result, "accuracy", task="speaker", input="layer", probe="pooled", split=split, layer=2)
        assert pooled["value"].item() == 1.0 > frame["value"].item()


def test_permuted_labels_give_chance_within_the_interval() -> None:
    planted = plant(seed=3)
    labels, classes = planted.frames.targets["phone"]
    rng = np.random.default_rng(0)
    shuffled = replace(planted, frames=replace(planted.frames, targets={"phone": (rng.permutation(labels), classes)}))
    result = shuffled.probe(quick(information=("phone",)))
    for measure, chance in (("accuracy", 1 / len(PHONES)), ("mi_held_out_bits", 0.0)):
        rows = pick(result, measure, task="phone", input="layer")
        rows = rows[rows["probe"].isin(["linear", "table"])]
        assert ((rows["low"] - 0.01 <= chance) & (chance <= rows["high"] + 0.01)).all()


def test_a_permuted_codebook_loses_the_geometry_and_nothing_else(planted: Planted, result: ProbeResult) -> None:
    used = np.ones(32, dtype=bool)
    books = [permute_rows(book, used, seed=layer) for layer, book in enumerate(planted.inputs.codebooks)]
    permuted = replace(planted, inputs=CodecInputs(planted.frames.codes, books)).probe(quick(inputs=("layer", "codes")))

    def value(probed: ProbeResult, name: str, measure: str) -> float:
        rows = pick(probed, measure, task="phone", input=name, layer=1)
        return float(rows.loc[rows["probe"].isin(["linear", "table"]), "value"].item())

    assert value(permuted, "layer", "mi_held_out_bits") == value(result, "layer", "mi_held_out_bits")
    assert value(permuted, "layer", "accuracy") < value(result, "layer", "accuracy") - 0.2
    assert value(permuted, "layer", "mdl_compression") < value(result, "layer", "mdl_compression")
    one_hot = planted.probe(quick(inputs=("codes",)))
    assert value(permuted, "codes", "accuracy") == value(one_hot, "codes", "accuracy")


def test_classes_and_confusion_are_those_of_the_eval_frames(planted: Planted, result: ProbeResult) -> None:
    head = {"task": "phone", "split": "utterances", "input": "layer", "layer": 1}
    classes, pairs = (
        table[(table[list(head)] == pd.Series(head)).all(axis=1)] for table in (result.classes, result.confusion)
    )
    labels: NDArray[np.int64] = planted.frames.targets["phone"][0][planted.frames.utterances >= 36]
    assert classes.set_index("class")["frames"][list(PHONES)].tolist() == np.bincount(labels).tolist()
    assert classes["group"].tolist() == ["vowel", "nasal", "stop", "fricative"]
    assert pairs["frames"].sum() == len(labels)
    scores = (pick(result, measure, probe="linear", **head) for measure in ("macro_f1", "accuracy"))
    macro_f1, accuracy = (rows["value"].item() for rows in scores)
    assert classes["f1"].mean() == pytest.approx(macro_f1)
    assert pairs.loc[pairs["class"] == pairs["predicted"], "frames"].sum() / len(labels) == pytest.approx(accuracy)


def test_layers_are_chosen_and_the_sample_is_spread_over_both_sides(planted: Planted) -> None:
    few = planted.probe(quick(layers=(2,), inputs=("layer",), tasks=("phone",), probes=("linear",)))
    assert set(pick(few, "accuracy")["layer"]) == {2}
    assert set(pick(few, "mi_held_out_bits")["layer"]) == {1, 2, 3}
    sample = sample_utterances(planted.manifest, planted.split, DepthConfig(train_utterances=9, eval_utterances=0))
    assert np.flatnonzero(sample[:36]).tolist() == [0, 4, 9, 13, 18, 22, 26, 31, 35]
    assert sample[36:].all()


def test_pitch_is_regressed_from_every_input(planted: Planted) -> None:
    result = planted.probe(quick(tasks=("pitch",), information=()))
    rows = result.table[(result.table["measure"] == "r2") & (result.table["probe"] == "linear")]
    r2 = {(name, layer): value for name, layer, value in rows[["input", "layer", "value"]].itertuples(index=False)}
    inputs = [*(("layer", layer) for layer in (1, 2, 3)), ("cumulative", 2), ("cumulative", 3), ("latent", 0)]
    assert list(r2) == inputs
    assert r2["layer", 2] > 0.5
    assert min(r2["cumulative", 2], r2["cumulative", 3], r2["latent", 0]) > 0.1
    assert max(r2["layer", 1], r2["layer", 3]) < 0.05
    assert (rows["null"] < 0.05).all()
