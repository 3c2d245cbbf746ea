import math

from benchmarks.encoders import SHAPES, bench_encoders


def test_every_encoder_is_measured_and_compared() -> None:
    found = bench_encoders(batch=2, rounds=1)
    assert set(found) == {*SHAPES, "ratio"}
    for name in SHAPES:
        assert set(found[name]) == {"windows_per_s", "trained_windows_per_s", "latency_ms", "peak_mb"}
        assert all(math.isfinite(value) and value >= 0 for value in found[name].values())
        expected = found["codes"]["windows_per_s"] / found[name]["windows_per_s"]
        assert name == "codes" or found["ratio"][name] == expected
