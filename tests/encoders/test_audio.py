from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from encodec import EncodecModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from phonoscope.encoders.audio import ENCODEC_CODEBOOKS, AudioEncoder, CodeEmbedding, encodec_codebooks, to_onnx


def codes(batch: int = 2, codebooks: int = 8, frames: int = 112, seed: int = 0) -> Tensor:
    return torch.randint(0, 1024, (batch, codebooks, frames), generator=torch.Generator().manual_seed(seed))


def encoder(**options: object) -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(**options).eval()


def test_shapes_are_exactly_the_documents() -> None:
    on_codes, on_mel = AudioEncoder("codes"), AudioEncoder("mel")
    assert on_codes.embedding.table.weight.shape == (1024, 64)
    assert on_mel.embedding is None
    assert [b.convolution.weight.shape for b in on_codes.branches] == [(128, 512, k) for k in (3, 5, 7)]
    assert [b.convolution.weight.shape for b in on_mel.branches] == [(64, 2048, k) for k in (3, 5, 7)]


@pytest.mark.parametrize("kind", ["codes", "mel"])
def test_a_window_gives_the_same_vector_alone_and_in_a_batch(kind: str) -> None:
    model, x = encoder(input=kind), codes(8) if kind == "codes" else torch.randn(8, 2048, 65)
    together, alone = model(x), torch.cat([model(window[None]) for window in x])
    assert together.shape == (8, 256)
    assert not torch.allclose(together[0], together[1])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    for dtype in (torch.float32, torch.int16) if kind == "codes" else ():  # codes of integral value
        assert torch.equal(model(x.to(dtype)), together)


def test_the_least_and_the_greatest_code_are_looked_up_in_the_first_and_the_last_row() -> None:
    embedding = CodeEmbedding(2, 1024, 3)
    vectors = embedding(torch.tensor([[[0, 1023], [1023, 0]]]))[0]
    first, last = embedding.table.weight[[0, 1023]]
    assert torch.equal(vectors, torch.stack([torch.cat([first, last]), torch.cat([last, first])], dim=1))


def test_a_gradient_reaches_the_rows_of_codes_that_occur() -> None:
    model = AudioEncoder("codes").train()
    features = model(codes(8) % 10)
    (features * torch.randn_like(features)).sum().backward()
    of_rows = model.embedding.table.weight.grad
    assert of_rows[:10].any(dim=1).all()
    assert not of_rows[10:].any()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *((value, " is outside") for value in (1024, -1, 5000)),
        *((value, " is not an integer") for value in (511.9, -0.5)),
        (torch.nan, ""),
    ],
)
def test_a_code_out_of_the_vocabulary_or_between_integers_is_refused_by_value_and_codebook(
    value: float, reason: str
) -> None:
    x = codes().double()
    x[1, 2, 7] = value
    with pytest.raises(ValueError, match=rf"code {value}.* of codebook 3{reason}"):
        encoder()(x)


@given(st.integers(0, 7), st.integers(0, 11), st.integers(0, 1023))
@settings(max_examples=25)
def test_time_stays_time(codebook: int, frame: int, code: int) -> None:
    """Changing one code changes the embedded sequence at its own frame and codebook, and nowhere else."""
    torch.manual_seed(0)
    embedding = CodeEmbedding(8, 1024, 4)
    x = torch.full((1, 8, 12), 7)
    changed = x.clone()
    changed[0, codebook, frame] = code
    moved = (embedding(changed) - embedding(x))[0].reshape(8, 4, 12).abs().sum(1)
    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[codebook, frame] = code != 7
    assert torch.equal(moved > 0, expected)


def test_the_scrambled_control_keeps_one_cell_in_a_hundred_at_its_time() -> None:
    embedding = CodeEmbedding(8, 112, 64, scramble=True)
    with torch.no_grad():
        embedding.table.weight.copy_(torch.arange(112.0)[:, None].expand(-1, 64))  # each vector says its frame
    x = torch.arange(112)[None, None].expand(1, 8, -1)
    share = (embedding(x)[0] == torch.arange(112.0)).double().mean().item()
    assert share == pytest.approx(0.0098, abs=5e-4)


@given(st.integers(1, 20), st.integers(1, 30))
@settings(max_examples=15)
def test_padding_changes_nothing(length: int, padding: int) -> None:
    model, x = encoder(), codes(3, frames=length)
    padded = torch.cat([x, codes(3, frames=padding, seed=1)], dim=2)
    mask = torch.arange(length + padding).expand(3, -1) < length
    torch.testing.assert_close(model(padded, mask), model(x), atol=1e-5, rtol=1e-4)


def test_padding_does_not_enter_the_batch_statistics() -> None:
    torch.manual_seed(0)
    plain, masked = AudioEncoder(dropout=0.0).train(), AudioEncoder(dropout=0.0).train()
    masked.load_state_dict(plain.state_dict())
    x = codes(6, frames=20)
    padded = torch.cat([x, codes(6, frames=9, seed=1)], dim=2)
    torch.testing.assert_close(masked(padded, torch.arange(29).expand(6, -1) < 20), plain(x), atol=1e-4, rtol=1e-3)
    for one, other in zip(plain.buffers(), masked.buffers(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_mel_input_without_time_is_one_frame_with_a_warning() -> None:
    model, x = encoder(input="mel", channels=80), torch.randn(3, 80)
    with pytest.warns(UserWarning, match="taken as one frame"):
        features = model(x)
    torch.testing.assert_close(features, model(x[:, :, None]))


@pytest.mark.parametrize(
    ("options", "inputs", "reason"),
    [
        ({}, [codes(codebooks=4)], r"\[batch, 8, frames\]"),
        ({"input": "mel", "channels": 80}, [torch.randn(2, 60, 5)], r"\[batch, 80, frames\]"),
        ({"input": "wave"}, [], "input is 'wave'"),
        ({}, [codes(), torch.ones(2, 5, dtype=torch.bool)], "the mask has shape"),
    ],
)
def test_a_wrong_input_is_refused_by_its_shape(options: dict[str, object], inputs: list[Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encoder(**options)(*inputs)


def test_codebooks_share_rows_unless_asked_otherwise() -> None:
    x = codes()
    for apart in (False, True):
        embedding = CodeEmbedding(8, 1024, 4, per_codebook=apart)
        vectors, swapped = (embedding(each).reshape(2, 8, 4, 112) for each in (x, x.flip(1)))
        assert embedding.table.weight.shape == (8192 if apart else 1024, 4)
        assert torch.equal(swapped, vectors.flip(1)) != apart


def test_windows_of_one_code_give_the_same_vector_at_any_length() -> None:
    """Away from the edges each frame of a constant window looks the same, so the maximum does not grow with it."""
    model = encoder()
    short, long = (torch.full((1, 8, frames), 512) for frames in (40, 160))
    torch.testing.assert_close(model(short), model(long), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(model(short), model(torch.full((1, 8, 40), 100)), atol=1e-3)


def test_the_table_starts_from_the_codecs_own_vectors() -> None:
    embedding = CodeEmbedding(2, 16, 6, per_codebook=True)
    books = [torch.randn(16, 4), torch.randn(16, 4)]
    embedding.start_from(books)
    vectors = embedding(torch.tensor([[[3], [9]]]))[0, :, 0]
    torch.testing.assert_close(vectors[:4], books[0][3])
    torch.testing.assert_close(vectors[6:10], books[1][9])
    assert not vectors[4:6].any()


@pytest.mark.parametrize(
    ("options", "books", "reason"),
    [
        ({}, [torch.zeros(16, 6)] * 2, "per_codebook"),
        ({"per_codebook": True}, [torch.zeros(16, 6)], "1 codebooks"),
        ({"per_codebook": True}, [torch.zeros(8, 6)] * 2, r"\[8, 6\]"),
        ({"per_codebook": True}, [torch.zeros(16, 7)] * 2, r"\[16, 7\]"),
    ],
)
def test_codebooks_that_do_not_fit_are_refused(options: dict[str, bool], books: list[Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CodeEmbedding(2, 16, 6, **options).start_from(books)


@pytest.mark.parametrize("kind", ["codes", "mel"])
def test_the_exported_encoder_computes_the_same_at_any_batch_and_length(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(kind, channels=4).train()
    for _ in range(3):  # batch statistics that are not those of the start
        encoder(torch.randint(0, 1024, (8, 4, 30)) if kind == "codes" else torch.randn(8, 4, 30) * 3 + 1)
    to_onnx(encoder, tmp_path / "encoder.onnx")
    assert encoder.training
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    encoder.eval()
    for batch, frames in ((1, 112), (5, 40), (3, 150)):
        x = torch.randint(0, 1024, (batch, 4, frames)) if kind == "codes" else torch.randn(batch, 4, frames)
        mask = torch.arange(frames) < torch.randint(1, frames + 1, (batch, 1))
        (result,) = session.run(None, {"x": x.numpy(), "mask": mask.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(result, encoder(x, mask).numpy(), atol=1e-4, rtol=1e-3)


def test_a_bandwidth_is_75_frames_a_second_of_10_bits_a_codebook_as_in_the_package() -> None:
    model = EncodecModel.encodec_model_24khz(pretrained=False)
    for kbps, codebooks in ENCODEC_CODEBOOKS.items():
        assert kbps * 1000 == 75 * 10 * codebooks
        assert encodec_codebooks(kbps) == encodec_codebooks(kbps, codebooks) == codebooks
        assert model.quantizer.get_num_quantizers_for_bandwidth(model.frame_rate, kbps) == codebooks


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ((3.0, 8), "3 kbps holds 4 codebooks, not 8; that takes 6 kbps"),
        ((24.0, 33), "24 kbps holds 32 codebooks, not 33; that takes more than EnCodec has"),
        ((5.0,), "no bandwidth of 5 kbps; there are 1.5, 3, 6, 12, 24"),
    ],
)
def test_codebooks_that_a_bandwidth_does_not_have_are_refused(asked: tuple, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encodec_codebooks(*asked)
