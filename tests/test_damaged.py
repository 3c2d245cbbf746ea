"""Binary files that are cut, changed or state a wrong size: read or refused with `DataError`, in little memory."""

import io
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phonoscope.audio import read_audio
from phonoscope.codecs.checkpoints import load_codec, random_codec, save_codec
from phonoscope.errors import DataError
from phonoscope.files import write_safetensors
from phonoscope.sae import SaeConfig, SparseAutoencoder, load_sae, save_sae
from phonoscope.sae.models import build_shape
from tests.bytes import damaged
from tests.commandline import python
from tests.whisper.ct2_writer import ct2_bytes

AUDIO = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "W64", "RF64")


def audio_bytes(kind: str) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, np.random.default_rng(0).normal(0, 0.1, 800).astype(np.float32), 16_000, format=kind)
    return buffer.getvalue()


def tensor_bytes(folder: Path) -> bytes:
    path = folder / "whole.safetensors"
    write_safetensors(path, {"a": torch.zeros(3, 2), "b": torch.ones(4, dtype=torch.int16)}, {"frame_rate_hz": 50})
    return path.read_bytes()


@pytest.mark.parametrize("kind", AUDIO)
@given(data=st.data())
def test_any_sound_file_is_read_or_refused(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz.{kind.lower()}"
    path.write_bytes(data.draw(damaged(audio_bytes(kind))))
    with suppress(DataError):
        samples, rate = read_audio(path)
        assert samples.ndim == 1
        assert rate > 0


def save_small_sae(folder: Path) -> None:
    shape = build_shape("autoencoder", SaeConfig(kind="topk", k=2, expansion=2), d_in=4, d_out=4)
    save_sae(SparseAutoencoder(shape), folder, {})


SAVED = [(lambda folder: save_codec(random_codec("dac", 1), "dac", folder), load_codec), (save_small_sae, load_sae)]


@pytest.fixture(scope="module", params=SAVED)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Any]:
    """A saved model's config file and its content, with weights of another model beside it; and what loads it."""
    save, load = request.param
    folder = tmp_path_factory.mktemp("model")
    save(folder)
    (config,), (weights,) = folder.glob("*.json"), folder.glob("*.safetensors")
    weights.write_bytes(tensor_bytes(tmp_path_factory.mktemp("other")))
    return config, config.read_bytes(), load


@given(data=st.data())
@settings(max_examples=60)
def test_any_config_of_a_model_is_taken_or_refused(data: st.DataObject, model: tuple[Path, bytes, Any]) -> None:
    config, content, load = model
    config.write_bytes(data.draw(damaged(content)))
    with pytest.raises(DataError):  # the weights fit no model
        load(config.parent)


def lying_flac() -> bytes:
    """A header that states 50 days: all 36 bits of STREAMINFO's sample count are set."""
    content = bytearray(audio_bytes("FLAC"))
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    return bytes(content)


def lying_wav() -> bytes:
    content = bytearray(audio_bytes("WAV"))
    place = content.index(b"data") + 4
    content[place : place + 4] = content[4:8] = struct.pack("<I", 0x70000000)
    return bytes(content)


def lying_safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    return struct.pack("<Q", len(header)) + header


def lying_ct2() -> bytes:
    sizes, lies = b"\1\2\0\0\0\4\4\0\0\0", b"\1\xff\xff\xff\x7f\4\xfe\xff\xff\xff"
    return ct2_bytes({"a": np.zeros(2, np.float16)}).replace(sizes, lies)


def lying_parquet() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame({"utterance": ["a"] * 50}).to_parquet(buffer)
    content = buffer.getvalue()
    return content[:-8] + struct.pack("<I", 0x7FFFFFFF) + content[-4:]


LIES = {
    "lie.flac": (lying_flac, "phonoscope.audio:read_audio"),
    "lie.wav": (lying_wav, "phonoscope.audio:read_audio"),
    "lie.safetensors": (lying_safetensors, "phonoscope.files:read_safetensors"),
    "long.safetensors": (lambda: struct.pack("<Q", 2**62) + b"{}", "phonoscope.files:read_safetensors"),
    "lie.bin": (lying_ct2, "phonoscope.whisper.ct2:read_ct2"),
    "lie.parquet": (lying_parquet, "phonoscope.data.tables:read_frame"),
}
READ = """
import pkgutil, resource, sys
from pathlib import Path
from phonoscope.errors import DataError
reads = [(file, pkgutil.resolve_name(target)) for file, target in zip(sys.argv[1::2], sys.argv[2::2])]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file, read in reads:
    try:
        read(Path(file))
    except DataError as error:
        assert file in str(error), error
    else:
        sys.exit(f"{file} was read")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_file_that_lies_about_its_size_costs_no_memory(tmp_path: Path) -> None:
    arguments = []
    for name, (make, target) in LIES.items():
        (tmp_path / name).write_bytes(make())
        arguments += [name, target]
    done = python(tmp_path, "-c", READ, *arguments)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300  # MiB more at the peak, libraries included, where the lies are of GiB
