import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.large_probes import bench_large
from benchmarks.probes import TOLERANCE, Fit, Frames, Judge, bench_probes, fit_table
from benchmarks.speech import GRAIN, SpeechLayer, deal
from phonoscope.errors import CheckFailed

KEYS = {"frames", "reference_s", "ours_s", "ratio", "max_objective_gap", "agreement", "peak_mb"}
TINY = {"codes": 32, "phones": 5, "speakers": 7}


def layer(depth: int = 0, *, codec: int = 0, seed: int = 0) -> SpeechLayer:
    return SpeechLayer(codec, depth, dims=8, seed=seed, **TINY)


def test_both_sides_find_the_same_probe_from_a_folder_without_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = bench_probes(frames=3000, dims=8, classes=5, codes=64)
    assert found.keys() == KEYS
    assert found["frames"] == 3000
    assert found["max_objective_gap"] < 1e-6
    assert found["agreement"] > 0.999
    assert found["ratio"] == pytest.approx(found["reference_s"] / found["ours_s"])
    assert found["peak_mb"] >= 0
    assert not list(tmp_path.iterdir())


def test_the_command_prints_the_keys() -> None:
    done = CliRunner().invoke(app, ["probes", "--frames", "1000", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout).keys() == KEYS


def made() -> Frames:
    of = layer()
    batch = of.batch(0, 4000)
    return Frames(of.codebook, batch.codes, batch.phones, TINY["phones"])


def test_the_judge_has_the_objective_of_scikit_learn() -> None:
    frames = made()
    fit = fit_table(frames)
    judge = Judge(frames)
    vectors = judge.rows[frames.codes]
    model = LogisticRegression(class_weight="balanced", tol=1e-9, max_iter=5000).fit(vectors, frames.labels)
    logs = model.predict_log_proba(vectors)[np.arange(len(vectors)), frames.labels]
    weights = len(vectors) / (TINY["phones"] * np.bincount(frames.labels))
    objective = 0.5 * np.sum(model.coef_**2) - weights[frames.labels] @ logs
    assert judge.objective("theirs", Fit(model.coef_, model.intercept_)) == pytest.approx(objective, rel=1e-9)
    assert judge.objective("ours", fit) == pytest.approx(objective, rel=1e-6)
    same = model.predict(vectors) == (vectors @ fit.weight.T + fit.bias).argmax(axis=1)
    assert judge.agreement(fit, Fit(model.coef_, model.intercept_)) == pytest.approx(same.mean())


def test_a_side_that_stops_early_is_refused() -> None:
    frames = made()
    fit = fit_table(frames)
    with pytest.raises(CheckFailed, match=rf"scikit-learn stopped at a gradient of .*above {TOLERANCE:.0e}"):
        Judge(frames).objective("scikit-learn", Fit(fit.weight * 0.99, fit.bias))


def test_the_large_case_fits_three_probes_a_layer_whatever_the_workers() -> None:
    found = bench_large(frames=3000, dims=(4, 8), layers=2, workers=1, **TINY)
    assert found.keys() == KEYS | {"probes", "unconverged"}
    assert (found["frames"], found["probes"], found["unconverged"]) == (3000, 12, 0)
    assert found["peak_mb"] is not None
    assert found["peak_mb"] > 10


def test_frames_are_the_same_whenever_they_are_drawn() -> None:
    again, other = layer().batch(3, 500), layer(seed=1).batch(3, 500)
    for one, two, three in zip(layer().batch(3, 500), again, other, strict=True):
        assert np.array_equal(one, two, equal_nan=True)
        assert not np.array_equal(one, three, equal_nan=True)


def test_layers_share_labels_and_differ_in_codes() -> None:
    one = layer().batch(0, 500)
    for other in (layer(1).batch(0, 500), layer(codec=1).batch(0, 500)):
        assert np.array_equal(one.phones, other.phones)
        assert np.array_equal(one.f0_hz, other.f0_hz, equal_nan=True)
        assert not np.array_equal(one.codes, other.codes)


def test_deeper_layers_tell_less_of_the_phone() -> None:
    def told(depth: int) -> float:
        """Accuracy of the most frequent phone of each code."""
        batch = layer(depth).batch(0, 20_000)
        counts = np.zeros((TINY["codes"], TINY["phones"]))
        np.add.at(counts, (batch.codes, batch.phones), 1)
        return float(counts.max(axis=1).sum() / counts.sum())

    assert told(0) > told(8) + 0.1


def test_shares_are_dealt_out() -> None:
    shares = np.array([0.5, 0.125, 0.375])
    assert np.bincount(deal(shares)).tolist() == (shares * GRAIN).tolist()
