from __future__ import annotations

import numpy as np
import pytest
import torch

from phonoscope.errors import DataError
from phonoscope.probes import probe
from phonoscope.probes.schema import COLUMNS

from .planted import make_corpus
from .test_run import CONFIG, random_codebook

CORPUS = make_corpus(random_codebook())
PHONES = np.where(np.array(CORPUS.phone) == "SIL", "", np.array(CORPUS.phone))


def test_arrays_give_the_table_of_the_pipeline() -> None:
    books = torch.tensor(np.stack(CORPUS.codebooks))
    codes, names, held_out = torch.tensor(CORPUS.codes.T), CORPUS.names, CORPUS.evaluation
    table = probe(codes, books, PHONES, utterances=names, evaluation=held_out, config=CONFIG)
    expected = CORPUS.probe(CONFIG).table
    expected = expected[expected["task"] == "phone"]
    assert tuple(table.columns) == COLUMNS
    # the permuted codebooks are drawn by the name of the task
    fixed = (table["probe"] != "permuted").to_numpy()
    for column in ("layer", "probe", "measure", "value", "low", "high"):
        np.testing.assert_array_equal(table.loc[fixed, column], expected.loc[fixed, column])


def test_numbers_are_regressed_and_codes_need_no_codebook() -> None:
    f0 = CORPUS.f0_hz.astype(float)
    table = probe(CORPUS.codes[:, 0], None, f0, utterances=CORPUS.utterance, task="pitch", config=CONFIG)
    r2 = table[table["measure"] == "r2"].set_index("probe")["value"]
    assert set(table["measure"]) == {"r2", "mae"}
    assert r2["linear"] == pytest.approx(r2["lookup"], abs=1e-6)  # one-hot rows read out each code's mean
    assert r2["lookup"] > 0.9
    with_book = probe(CORPUS.codes[:, 0], CORPUS.codebooks[0], f0, utterances=CORPUS.utterance, config=CONFIG)
    assert with_book.loc[with_book["probe"] == "linear", "value"].iloc[0] > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": PHONES[1:]}, "6000 frames of codes, 5999 labels"),
        ({"codes": CORPUS.codes[:, 0] / 2}, "should be integers from 0"),
        ({"codebooks": random_codebook(32)}, "layer 1 has code 63, but its codebook has 32 rows"),
        ({"codebooks": CORPUS.codebooks}, "1 layers of codes, but 2 codebooks"),
        ({"evaluation": ["u999"]}, "'u999' is held out, but has no frame"),
        ({"labels": np.full(len(PHONES), "")}, "no frame has a label"),
        ({"labels": np.full(len(PHONES), "a")}, "train needs two classes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    arrays = {"codes": CORPUS.codes[:, 0], "codebooks": CORPUS.codebooks[0], "labels": PHONES} | changes
    with pytest.raises(DataError, match=message):
        probe(**arrays, utterances=CORPUS.names)  # type: ignore[arg-type]
