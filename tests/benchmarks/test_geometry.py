import json

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.geometry import bench_geometry

KEYS = {"clips", "dims", "direct_s", "ours_s", "ratio", "direct_mb", "ours_mb", "max_difference"}


def test_both_ways_agree() -> None:
    done = CliRunner().invoke(app, ["geometry", "--clips", "40", "--layers", "2", "--dims", "64", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found.keys() == KEYS
    assert (found["clips"], found["dims"]) == (40, 128)
    assert found["max_difference"] < 1e-9
    assert found["ratio"] == pytest.approx(found["direct_s"] / found["ours_s"])
    assert min(found["direct_s"], found["ours_s"]) > 0


def test_the_plain_way_can_be_left_out() -> None:
    found = bench_geometry(clips=40, layers=2, dims=64, direct=False)
    assert found.keys() == {"clips", "dims", "ours_s", "ours_mb"}
