import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from phonoscope.audio import check_audio, read_audio, resample, write_flac
from phonoscope.errors import DataError

RATE_HZ = 16_000


def tone(hz: float = 440.0, rate: int = RATE_HZ, duration_s: float = 0.25) -> NDArray[np.float32]:
    time_s = np.arange(round(duration_s * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_U8", 2.0**-7), ("PCM_16", 2.0**-15), ("PCM_24", 2.0**-23), ("FLOAT", 0), ("DOUBLE", 0)]
)
def test_every_sample_format_is_read_as_float32(tmp_path: Path, subtype: str, step: float) -> None:
    sf.write(tmp_path / "a.wav", tone(), RATE_HZ, subtype=subtype)
    samples, rate = read_audio(tmp_path / "a.wav")
    assert rate == RATE_HZ
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, tone(), atol=step + 1e-7, rtol=0)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(440), tone(1000)
    sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE_HZ, subtype="FLOAT")
    samples, _ = read_audio(tmp_path / "a.wav")
    assert samples.shape == left.shape
    np.testing.assert_allclose(samples, (left + right) / 2, atol=1e-7)


def test_what_is_no_sound_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.wav: no such audio file"):
        read_audio(tmp_path / "gone.wav")
    for name, content in {"empty.wav": b"", "text.wav": b"not a sound, but text", "half.flac": b"fLaC\0\0"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: not a readable audio file"):
            read_audio(tmp_path / name)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a.{suffix}"
    sf.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE_HZ), RATE_HZ)
    content = path.read_bytes()
    kept = int(share * len(content))
    path.write_bytes(content[:kept])
    reason = rf"truncated, {len(content) - kept} of {len(content)} bytes are missing" if suffix == "wav" else ""
    with pytest.raises(DataError, match=rf"a\.{suffix}: {reason}"):
        read_audio(path)


def test_a_wav_from_a_pipe_is_read(tmp_path: Path) -> None:
    """Its writer could not know the length, so the header says the largest one."""
    sf.write(tmp_path / "a.wav", tone(), RATE_HZ)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    for position in (4, content.index(b"data") + 4):
        content[position : position + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    samples, _ = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(samples, tone(), atol=2.0**-15)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.append(tone(), np.float32(np.nan)), "NaN or infinite"),
        (np.append(tone(), np.float32(np.inf)), "NaN or infinite"),
        (tone()[:799], r"shorter than 0\.05 s \(0\.050 s\)"),
        (np.zeros(RATE_HZ, np.float32), "silent"),
        (tone() * 1e-4, "silent"),
    ],
)
def test_unusable_audio_is_read_and_refused_with_the_reason(
    tmp_path: Path, samples: NDArray[np.float32], reason: str
) -> None:
    sf.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    with pytest.raises(DataError, match=reason):
        check_audio(*read_audio(tmp_path / "a.wav"))


def test_usable_audio_passes() -> None:
    check_audio(tone()[:800], RATE_HZ)
    check_audio(tone() * 2.5e-4, RATE_HZ)


RATES = st.sampled_from([8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000])


@given(samples=st.integers(800, 20_000), from_hz=RATES, to_hz=RATES)
def test_the_length_law_of_resampling(samples: int, from_hz: int, to_hz: int) -> None:
    resampled = resample(np.ones(samples, np.float32), from_hz, to_hz)
    assert resampled.dtype == np.float32
    assert abs(len(resampled) - samples * to_hz / from_hz) <= 0.5


@pytest.mark.parametrize(("from_hz", "to_hz"), [(22050, 16000), (8000, 24000), (16000, 24000), (44100, 16000)])
def test_a_tone_stays_itself(from_hz: int, to_hz: int) -> None:
    resampled, expected = resample(tone(rate=from_hz), from_hz, to_hz), tone(rate=to_hz)
    inner = slice(to_hz // 20, -to_hz // 20)
    np.testing.assert_allclose(resampled[: len(expected)][inner], expected[: len(resampled)][inner], atol=1e-4)


def test_resampling_keeps_the_same_rate_and_cuts_what_is_above_the_new_limit() -> None:
    np.testing.assert_array_equal(resample(tone(), RATE_HZ, RATE_HZ), tone())
    assert float(np.abs(resample(tone(7000, 24_000), 24_000, 8_000))[200:-200].max()) < 1e-4


def test_flac_round_trip_clips_and_repeats(tmp_path: Path) -> None:
    samples = tone() * 2.4
    for name in ("a.flac", "b.flac"):
        write_flac(tmp_path / name, samples, RATE_HZ)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()
    assert sf.info(tmp_path / "a.flac").subtype == "PCM_16"
    decoded, rate = read_audio(tmp_path / "a.flac")
    assert rate == RATE_HZ
    np.testing.assert_allclose(decoded, np.clip(samples, -1, 1), atol=2.0**-15)


def test_processes_that_compile_librosa_at_once_leave_a_sound_cache(tmp_path: Path) -> None:
    tries = "import time; time.sleep({}); from phonoscope.audio import load_librosa; load_librosa()"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    # the race needs one that finds some functions compiled and others not
    racing = [subprocess.Popen([sys.executable, "-c", tries.format(wait_s)], env=environment) for wait_s in (0, 1.5, 3)]
    assert [process.wait() for process in racing] == [0, 0, 0]
    assert list(tmp_path.rglob("guf-*.nbc"))
    subprocess.run([sys.executable, "-c", tries.format(0)], env=environment, check=True)
