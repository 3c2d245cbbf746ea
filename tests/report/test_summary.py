from __future__ import annotations

import pandas as pd
import pytest

from phonoscope.errors import DataError
from phonoscope.report.summary import codec_headline, scalars


def encode_table() -> pd.DataFrame:
    rows = [
        (0, "bitrate_bps", 6000.0, 10),
        *((layer, "perplexity", 100.0 * layer, 10) for layer in (2, 1)),
        *((layer, "si_sdr_db", float(layer), 10) for layer in (2, 1)),
        *((layer, "used_codes", 5.0, 10) for layer in (1, 2)),
    ]
    return pd.DataFrame(rows, columns=["layer", "metric", "value", "n"])


def test_reconstruction_is_that_of_all_layers_and_of_clips_that_allow_it() -> None:
    stoi = pd.DataFrame([(1, "stoi", 0.4, 3), (2, "stoi", float("nan"), 0)], columns=["layer", "metric", "value", "n"])
    assert codec_headline(pd.concat([encode_table(), stoi])) == {
        "bitrate_bps": 6000,
        "si_sdr_db": 2,
        "perplexity_layer_1": 100,
        "perplexity_layer_2": 200,
    }


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(DataError, match="lacks the column 'value'; there are metric"):
        scalars(pd.DataFrame({"metric": ["a"]}))
