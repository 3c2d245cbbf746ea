from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phonoscope.errors import DataError
from phonoscope.whisper.ct2 import load_ct2, read_ct2

from .ct2_writer import ALIASES, Array, ct2_bytes, tiny_model, to_variables

SMALL = {"encoder/num_heads": np.array(2, np.int16), "a/weight": np.arange(6, dtype=np.float16).reshape(2, 3)}


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.bin"
    path.write_bytes(data)
    return path


def test_round_trip_gives_the_same_model(tmp_path: Path) -> None:
    model = tiny_model()
    path, random_state = written(tmp_path, ct2_bytes(to_variables(model), ALIASES)), torch.get_rng_state()
    loaded = load_ct2(path)
    assert torch.equal(torch.get_rng_state(), random_state)
    original = model.state_dict()
    assert {n: t.tolist() for n, t in loaded.state_dict().items()} == {n: t.tolist() for n, t in original.items()}
    mel, tokens = torch.randn(2, 80, 3000), torch.tensor([[3, 5, 7], [3, 9, 11]])
    with torch.no_grad():
        expected = model(input_features=mel, decoder_input_ids=tokens).logits
        assert torch.allclose(loaded(input_features=mel, decoder_input_ids=tokens).logits, expected, atol=1e-5)


def test_a_key_bias_changes_nothing_because_softmax_does_not_see_it(tmp_path: Path) -> None:
    variables = to_variables(tiny_model())
    plain = load_ct2(written(tmp_path, ct2_bytes(variables, ALIASES)))
    bias = variables["encoder/layer_0/self_attention/linear_0/bias"].copy()
    bias[8:16] = 3.0
    variables["encoder/layer_0/self_attention/linear_0/bias"] = bias
    biased = load_ct2(written(tmp_path, ct2_bytes(variables, ALIASES)))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), biased.parameters(), strict=True))


def test_reader_returns_what_was_written(tmp_path: Path) -> None:
    numbers = {"f32": np.array([1.5, -2.0], np.float32), "i8": np.array([[-3]], np.int8), "i32": np.array(7, np.int32)}
    variables: dict[str, Array] = {**numbers, **SMALL}
    result = read_ct2(written(tmp_path, ct2_bytes(variables, {"alias": "i8"})))
    assert set(result) == {*variables, "alias"}
    for name, array in {**variables, "alias": variables["i8"]}.items():
        assert result[name].dtype == array.dtype
        np.testing.assert_array_equal(result[name], array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"this is not a model at all, only some text", "version"),
        (ct2_bytes(SMALL).replace(b"\6", b"\5", 1), "version is 5"),
        (ct2_bytes(SMALL).replace(b"WhisperSpec", b"AnotherSpec"), "spec is 'AnotherSpec'"),
        (ct2_bytes(SMALL).replace(b"Spec\0\3", b"Spec\0\2"), "revision is 2"),
        (ct2_bytes(SMALL) + b"\0", "1 bytes after the end"),
        (ct2_bytes(SMALL, {"x": "nowhere"}), "nowhere"),
        (ct2_bytes({"a": np.zeros((1, 1, 1, 1), np.float16)}), "rank 4"),
        (ct2_bytes({"a": np.zeros(2, np.float16)}).replace(b"\x04\x04\0\0\0", b"\x09\x04\0\0\0"), "unknown dtype 9"),
        (ct2_bytes({"a": np.zeros(2, np.float16)}).replace(b"\x04\x04\0\0\0", b"\x04\x06\0\0\0"), "6 bytes"),
        (ct2_bytes({n: np.zeros(2, np.int8) for n in ("ab", "xy")}).replace(b"xy", b"ab"), "occurs twice"),
    ],
)
def test_broken_files_are_refused_with_file_and_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=rf"model\.bin: .*{reason}"):
        read_ct2(written(tmp_path, data))


def test_every_truncation_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    whole = ct2_bytes(SMALL, {"x": "a/weight"})
    for cut in range(len(whole)):
        with pytest.raises(DataError, match="truncated"):
            read_ct2(written(tmp_path, whole[:cut]))
    with pytest.raises(DataError, match="no such file"):
        read_ct2(tmp_path / "nowhere.bin")


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_is_refused_or_read_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(ct2_bytes(SMALL, {"x": "a/weight"}))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = written(tmp_path_factory.mktemp("flip"), bytes(whole))
    try:
        names = set(read_ct2(path))
    except DataError:
        return
    assert len(names) == 3


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("encoder/conv1/weight", None, "encoder/conv1/weight"),
        ("encoder/layer_1/ffn/linear_0/weight", None, "layers.1.fc1.weight"),
        ("encoder/extra/weight", np.zeros((2, 2), np.float16), "extra"),
        ("encoder/conv2/weight", np.zeros((8, 7, 3), np.float16), "conv2"),
        ("encoder/conv2/weight", np.full((8, 8, 3), np.nan, np.float16), "not finite"),
        ("encoder/layer_0/self_attention/linear_0/weight", np.zeros((25, 8), np.float16), "equal division"),
        ("encoder/layer_0/ffn/linear_0/weight", np.zeros((12, 8), np.int8), "integer weights"),
        ("encoder/num_heads", np.array(0, np.int16), "do not make a Whisper model"),
        ("encoder/num_heads", None, "num_heads"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tmp_path: Path, name: str, array: Array | None, reason: str) -> None:
    changed: dict[str, Array | None] = {**to_variables(tiny_model()), name: array}
    kept = {name: array for name, array in changed.items() if array is not None}
    with pytest.raises(DataError, match=rf"model\.bin: .*{reason}"):
        load_ct2(written(tmp_path, ct2_bytes(kept, ALIASES)))
