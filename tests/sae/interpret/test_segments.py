from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from phonoscope.sae.interpret.segments import segment_maxima, segment_starts


def test_segments_end_at_phones_utterances_and_gaps() -> None:
    index = pd.DataFrame({"utterance": list("aaaaabbb"), "frame": [0, 1, 2, 4, 5, 0, 1, 2], "phone": list("SSTTTTSS")})
    assert segment_starts(index).tolist() == [0, 2, 3, 5, 6]
    assert segment_starts(index[:0]).tolist() == []


def test_maxima_are_those_of_the_dense_array() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random((50, 7)) * (rng.random((50, 7)) < 0.3)).astype(np.float32)
    starts = np.array([0, 3, 4, 20, 49])
    expected = np.maximum.reduceat(values, starts)
    assert np.array_equal(segment_maxima(sp.csr_array(values), starts).toarray(), expected)
    silent = sp.csr_array(np.zeros((50, 7), dtype=np.float32))
    assert segment_maxima(silent, starts).nnz == 0
