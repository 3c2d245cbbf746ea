from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from phonoscope.sae.interpret.groups import group, group_means, means_table


def test_groups_leave_out_and_keep_the_most_frequent() -> None:
    labels = pd.Series(["b", "", "a", "b", "c", "a", "SIL"], dtype="category")
    assert group(labels, leave_out=("", "SIL")).names == ("a", "b", "c")
    largest = group(labels, leave_out=("", "SIL"), most=2)
    assert (largest.names, largest.count.tolist()) == (("a", "b"), [2, 2])
    assert largest.code.tolist() == [1, -1, 0, 1, -1, 0, -1]
    assert group([]).names == ()


def test_means_are_pandas() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random((40, 3)) * (rng.random((40, 3)) < 0.5)).astype(np.float32)
    labels = rng.choice(["x", "y", ""], 40)
    groups = group(labels.tolist())
    expected = pd.DataFrame(values).groupby(labels).mean().loc[["x", "y"]].to_numpy()
    assert np.allclose(group_means(sp.csr_array(values), groups), expected)
    table = means_table(sp.csr_array(values), {"word": groups})
    row = table.query("group == 'y' and feature == 2").iloc[0]
    assert np.isclose(row["mean"], expected[1, 2])
    assert row["frames"] == (labels == "y").sum()
