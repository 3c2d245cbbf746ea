"""Read, check, resample and write audio: mono float32 in [-1, 1]."""

import getpass
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from filelock import FileLock
from numpy.typing import NDArray

from phonoscope.errors import DataError
from phonoscope.files import atomic_file

MIN_DURATION_S = 0.05
SILENCE_PEAK = 1e-4  # -80 dBFS
_PIPED_WAV_BYTES = 0x7FFF0000


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """Read a sound file as mono.

    Returns: samples of shape [samples], float32, and the sample rate in Hz. Several channels are averaged.
    Raises: `DataError` if the file is missing, unreadable or truncated.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: no such audio file")
        with sf.SoundFile(path) as file:
            declared, rate = file.frames, file.samplerate
            samples = file.read(dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise DataError(f"{path}: not a readable audio file ({error.error_string.strip()})") from error
    except (OSError, ValueError, MemoryError) as error:  # a name or a declared length that no machine can take
        raise DataError(f"{path}: not a readable audio file ({error})") from error
    if len(samples) < declared:
        raise DataError(f"{path}: truncated, {len(samples)} of {declared} samples are there")
    _refuse_cut_wav(path)
    return samples.mean(axis=1, dtype=np.float32), rate


def _refuse_cut_wav(path: Path) -> None:
    """Raise `DataError` if a WAV file ends before its header says; libsndfile reads such a file without an error."""
    with path.open("rb") as file:
        header = file.read(8)
    declared = int.from_bytes(header[4:8], "little")
    # a writer to a pipe cannot know the length and declares about 2 or 4 GiB
    if header[:4] == b"RIFF" and declared < _PIPED_WAV_BYTES and (missing := declared + 8 - path.stat().st_size) > 1:
        raise DataError(f"{path}: truncated, {missing} of {declared + 8} bytes are missing")


def check_audio(samples: NDArray[np.float32], sample_rate: int) -> None:
    """Raise `DataError` with the reason if an utterance cannot be used: empty, too short, silent or not finite."""
    if samples.size == 0:
        raise DataError("no samples")
    if not np.isfinite(samples).all():
        raise DataError("NaN or infinite samples")
    if samples.size < MIN_DURATION_S * sample_rate:
        raise DataError(f"shorter than {MIN_DURATION_S} s ({samples.size / sample_rate:.3f} s)")
    if float(np.abs(samples).max()) < SILENCE_PEAK:
        raise DataError("silent (peak below -80 dBFS)")


def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Resample with soxr's very high quality setting. Shape [samples] -> [round(samples * to_hz / from_hz)]."""
    if from_hz == to_hz:
        return samples
    return np.asarray(soxr.resample(samples, from_hz, to_hz, quality="VHQ"), dtype=np.float32)


@cache
def load_librosa() -> Any:
    """The module librosa, with its compiled functions loaded; use this instead of `import librosa`.

    On a fresh machine the first import compiles them into numba's cache, which two processes at once leave corrupt, so
    that every later call ends in a segmentation fault (numba issue 10128): so one process at a time.
    """
    with FileLock(Path(tempfile.gettempdir()) / f"phonoscope-librosa-{getpass.getuser()}.lock"):
        import librosa
        import librosa.core
        import librosa.feature

        # what we call is compiled here, not on first use
        librosa.feature.melspectrogram(y=np.zeros(2048, np.float32), sr=16_000)
    return librosa


def write_flac(path: Path, samples: NDArray[np.float32], sample_rate: int) -> None:
    """Write mono 16-bit FLAC, clipped to [-1, 1]. FLAC holds no timestamp, so equal samples give equal bytes."""
    with atomic_file(path) as temporary:
        sf.write(temporary, np.clip(samples, -1.0, 1.0), sample_rate, format="FLAC", subtype="PCM_16")
