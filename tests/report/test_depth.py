from __future__ import annotations

import pandas as pd

from phonoscope.report.depth import draw_groups, draw_information, draw_inputs, draw_phones, markdown_tables

HEAD = {"codec": "a", "task": "phone", "split": "utterances"}
PHONES = [("AA", "vowel", 0.5), ("IY", "vowel", 0.25), ("S", "fricative", 1.0)]
CLASSES = pd.DataFrame(PHONES, columns=["class", "group", "f1"]).assign(**HEAD, input="layer", layer=1, frames=10)
PAIRS = [("AA", "AA", 6), ("AA", "IY", 4), ("IY", "S", 10), ("S", "S", 10)]
CONFUSION = pd.DataFrame(PAIRS, columns=["class", "predicted", "frames"]).assign(**HEAD, input="layer", layer=1)


def scores(*rows: tuple[str, int, str, str, float]) -> pd.DataFrame:
    columns = ["input", "layer", "probe", "measure", "value"]
    table = pd.DataFrame(rows, columns=columns).assign(**HEAD, null=0.01, converged=True)
    return table.assign(low=table["value"] - 0.1, high=table["value"] + 0.1)


def test_a_heat_map_shows_the_share_of_every_layer_and_task() -> None:
    table = scores(("layer", 1, "table", "mi_held_out_share", 0.4), ("layer", 2, "table", "mi_held_out_share", -0.001))
    figure = draw_information(table)
    assert figure is not None
    panel = figure.axes[0]
    assert [text.get_text() for text in panel.texts] == ["40", "0"]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2"]
    assert draw_information(table.assign(measure="mi_held_out_bits")) is None


def test_confusions_are_shares_of_a_class_and_of_its_group() -> None:
    phones = draw_phones(CONFUSION, CLASSES, "layer", 1)
    assert phones is not None
    image = phones.axes[0].images[0].get_array()
    assert image is not None
    assert image.tolist() == [[0.6, 0.4, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    assert len(phones.axes[0].lines) == 2  # one border between two groups, along each axis
    groups = draw_groups(CONFUSION, CLASSES, [("layer", 1), ("latent", 0)])
    assert groups is not None
    assert [text.get_text() for text in groups.axes[0].texts] == ["50", "50", "0", "100"]
    assert draw_phones(CONFUSION, CLASSES, "latent", 0) is None


def test_all_values_of_all_codecs_are_within_the_axis() -> None:
    low = scores(("layer", 1, "linear", "macro_f1", 0.3), ("latent", 0, "linear", "macro_f1", 0.4))
    high = low.assign(codec="b", value=low["value"] + 0.4)
    figure = draw_inputs(pd.concat([low, high]))
    assert figure is not None
    bottom, top = figure.axes[1].get_ylim()
    assert bottom == 0 < 0.8 < top


def test_the_table_has_every_row_and_the_phones() -> None:
    table = scores(("latent", 0, "linear", "macro_f1", 0.5), ("layer", 2, "mlp", "accuracy", 0.7))
    text = markdown_tables(table.assign(converged=[True, False]), CLASSES, confidence=0.9)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["a", "latent", "–", "linear", "macro-F1", "0.500 [0.400, 0.600]", "0.010"] in lines
    assert ["a", "layer", "2", "mlp", "accuracy †", "0.700 [0.600, 0.800]", "0.010"] in lines
    assert ["IY", "vowel", "0.250"] in lines
