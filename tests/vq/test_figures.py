from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from phonoscope.vq.figures import draw_features, draw_norms, draw_perplexities
from phonoscope.vq.headline import perplexity_curves

from phonoscope.drawing import png

from .findings import findings

TITLES = {"vq_unscaled": "faulty", "vq": "right"}


def curves() -> pd.DataFrame:
    tables = findings().tables
    return perplexity_curves({name: tables[name] for name in TITLES})


def test_the_three_perplexities_are_drawn_for_both_updates() -> None:
    figure = draw_perplexities(curves(), TITLES)
    faulty, right = figure.axes
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in faulty.get_lines()}
    assert drawn["EMA history"].tolist() == [100.0] * 6
    assert drawn["batch, training"].tolist() == drawn["dataset, eval"].tolist() == [1.5] * 6
    assert {line.get_label(): np.asarray(line.get_ydata())[0] for line in right.get_lines()}["EMA history"] == 330
    assert (faulty.get_title(), faulty.get_xlabel(), faulty.get_ylabel()) == ("faulty", "epoch", "perplexity (codes)")
    assert len(figure.legends[0].get_texts()) == 5
    assert png(figure) == png(draw_perplexities(curves(), TITLES))


def test_norms_are_drawn_against_the_vectors_and_the_emas_count() -> None:
    faulty, _ = draw_norms(findings().tables, TITLES).axes
    drawn = {line.get_label(): np.asarray(line.get_ydata())[0] for line in faulty.get_lines()}
    assert drawn["largest norm"] == drawn["n, the EMA's total count"] == 560
    assert drawn["norm of the vectors"] == 1


def test_features_of_both_splits_are_drawn_and_codes_out_of_view_are_counted() -> None:
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(50, 6)), rng.normal(size=(40, 6))
    book = np.concatenate([train[:3], 1000 * train[3:10]])
    figure = draw_features(
        {"vq": (train, held_out), "baseline": (train, held_out)}, {"vq": book}, {"vq": "VQ", "baseline": "none"}
    )
    quantized, plain = figure.axes
    assert [len(np.asarray(points.get_offsets())) for points in quantized.collections] == [50, 40, 10]
    assert len(plain.collections) == 2
    assert quantized.get_title() == "VQ\n3 of 10 codes in view"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "eval", "codes"]
    low, high = quantized.get_xlim()
    assert high - low == pytest.approx(plain.get_xlim()[1] - plain.get_xlim()[0])
