import math

from benchmarks.encode import OFFICIAL, PACKAGED, bench_encode, build
from phonoscope.codecs.base import bitrate_bps, frame_rate_hz


def test_every_packaged_codec_is_measured_clip_by_clip_and_in_batches() -> None:
    found = bench_encode(seconds=0.5, batch=2, rounds=1, threads=1, official=False)
    assert list(found) == list(PACKAGED)
    for scores in found.values():
        assert set(scores) == {"rtf", "rtf_batched", "cpu_s_per_s", "parameters", "peak_mb"}
        assert all(math.isfinite(value) and value >= 0 for value in scores.values())


def test_official_sizes_are_those_that_were_published() -> None:
    assert set(OFFICIAL) > {"mimi", "xcodec"}
    codec = build("encodec_24khz")
    assert (frame_rate_hz(codec), codec.n_layers, bitrate_bps(codec)) == (75, 8, 6000)
    assert codec.codebooks().raw[0].shape == (1024, 128)
