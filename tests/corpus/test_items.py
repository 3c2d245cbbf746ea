from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.corpus.items import MAX_ID_BYTES, AudioFile, check_id, sex_code, slug
from phonoscope.errors import DataError
from tests.corpus import trees


@given(st.text(max_size=200))
def test_an_accepted_id_is_one_plain_name(name: str) -> None:
    try:
        check_id(name)
    except DataError:
        return
    assert PurePosixPath(name).parts == (name,)
    assert not set(name) & set('/\\\0\n\r:*?"<>|~ ')
    assert ".." not in name
    assert name[0] not in ".-"
    assert len(name.encode()) <= MAX_ID_BYTES


@pytest.mark.parametrize(
    "name", ["../etc", "a/b", "a\\b", "a\n", "/root", "", "..", ".hidden", "-rf", "a..b", "a\0", "nul\u2028"]
)
def test_names_that_are_no_plain_part_of_a_path_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="unsafe id"):
        check_id(name)


@given(st.text(max_size=80))
def test_slug_is_empty_or_safe_and_stays(text: str) -> None:
    name = slug(text)
    assert slug(name) == name
    if name and len(name.encode()) <= MAX_ID_BYTES:
        check_id(name)


@pytest.mark.parametrize(
    ("label", "code"),
    [
        *(("female", "F"), (" F ", "F"), ("female_feminine", "F"), ("M", "M"), ("male_masculine", "M")),
        *(("", ""), ("other", ""), ("mixed", ""), ("do_not_wish_to_say", ""), ("non-binary", "")),
    ],
)
def test_sex_code(label: str, code: str) -> None:
    assert sex_code(label) == code


@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_24", 2**-23), ("DOUBLE", 1e-7)])
def test_sample_formats(tmp_path: Path, subtype: str, step: float) -> None:
    loaded = AudioFile(trees.put(tmp_path / "a.wav", subtype=subtype)).load()
    np.testing.assert_allclose(loaded.samples, trees.tone(), atol=1.5 * step)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_file_cut_in_half_is_refused(tmp_path: Path, suffix: str) -> None:
    path = trees.put(tmp_path / f"a.{suffix}", trees.tone(1.0, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"truncated|not a readable"):
        AudioFile(path).load()


def test_channels_are_averaged_not_time_and_a_wav_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    left, right = trees.tone(hz=200), trees.tone(hz=300)
    path = trees.put(tmp_path / "stereo.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(AudioFile(path).load().samples, (left + right) / 2, atol=1e-7)
    path = trees.put(tmp_path / "a.wav")
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(AudioFile(path).load().samples) == len(trees.tone())
