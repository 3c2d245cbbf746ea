"""Video, text and multimodal encoders: counts, shapes, what each modality does to the bottleneck."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from phonoscope.encoders import MultimodalEncoder, TextEncoder, VideoEncoder
from phonoscope.encoders.multimodal import VOXELS

COUNTS = {
    "video_encoder": 16_119_040,
    "text_encoder": 657_664,
    "feature_conv": 2_363_904,
    "layer5": 6_303_744,
    "layer6": 32_792_000,
    "layer7_bottleneck": 16_390_144,
}


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def counts_of(model: torch.nn.Module) -> dict[str, int]:
    """Parameters of each part, and of all."""
    return {name: count(part) for name, part in model.named_children()} | {"total": count(model)}


def inputs(audio: str, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(batch, 3, 90, 160, generator=generator)
    codes = torch.randint(0, 1024, (batch, 8, 112), generator=generator)
    mel = torch.randn(batch, 2048, 65, generator=generator)
    return video, codes if audio == "codes" else mel, torch.randn(batch, 1024, generator=generator)


@pytest.fixture(scope="module")
def on_codes() -> MultimodalEncoder:
    torch.manual_seed(0)
    return MultimodalEncoder(audio="codes")


def test_video_parameters() -> None:
    assert count(VideoEncoder()) == COUNTS["video_encoder"]


def test_video_frames_are_encoded() -> None:
    features = VideoEncoder().eval()(torch.randn(3, 3, 90, 160))
    assert features.shape == (3, 1024)
    assert (features >= 0).all()  # ReLU comes last


def test_video_of_another_size_takes_its_own_weights() -> None:
    small = VideoEncoder(45, 80, 64).eval()
    assert small(torch.randn(2, 3, 45, 80)).shape == (2, 64)
    with pytest.raises(RuntimeError):
        small(torch.randn(2, 3, 90, 160))


def test_every_pixel_of_a_frame_counts() -> None:
    model, frame = VideoEncoder().eval(), torch.zeros(1, 3, 90, 160, requires_grad=True)
    model(frame).sum().backward()
    assert frame.grad.ne(0).all()


def test_text_parameters() -> None:
    assert count(TextEncoder()) == COUNTS["text_encoder"]


def test_text_is_encoded() -> None:
    model = TextEncoder().eval()
    features = model(torch.randn(4, 1024))
    assert features.shape == (4, 256)
    assert not torch.allclose(features[0], features[1])


def test_text_of_another_width_is_refused() -> None:
    with pytest.raises(RuntimeError):
        TextEncoder(512).eval()(torch.randn(2, 1024))


@pytest.mark.parametrize(
    ("audio", "audio_count", "total"), [("mel", 2_082_368, 1_516_309_298), ("codes", 1_214_592, 1_515_441_522)]
)
def test_counts_with_the_voxel_head_are_exactly_the_documents(audio: str, audio_count: int, total: int) -> None:
    with torch.device("meta"):
        counts = counts_of(MultimodalEncoder(audio=audio, voxels=VOXELS))
    assert counts == {
        **COUNTS,
        "audio_encoder": audio_count,
        "bottleneck_to_voxels": 1_439_600_434,
        "total": total,
    }


def test_without_the_voxel_head_nothing_of_it_is_built(on_codes: MultimodalEncoder) -> None:
    assert on_codes.bottleneck_to_voxels is None
    assert count(on_codes) == 75_841_088


def test_the_audio_branch_alone_differs_between_the_inputs() -> None:
    with torch.device("meta"):
        mel, codes = (counts_of(MultimodalEncoder(audio=audio)) for audio in ("mel", "codes"))
    assert {part for part in mel if mel[part] != codes[part]} == {"audio_encoder", "total"}
    assert mel["total"] == 76_708_864


def test_forward_and_backward_at_batch_2(on_codes: MultimodalEncoder) -> None:
    on_codes.train().zero_grad()
    bottleneck, voxels = on_codes(*inputs("codes"))
    assert bottleneck.shape == (2, 2048)
    assert voxels is None
    # at batch 2, batch normalisation maps almost every pair to +1 and -1, and its gradient nearly vanishes
    (bottleneck * torch.randn_like(bottleneck)).sum().backward()
    gradients = {name: p.grad for name, p in on_codes.named_parameters()}
    assert all(g is not None and g.isfinite().all() for g in gradients.values())
    for part in ("video_encoder", "audio_encoder", "text_encoder"):
        assert any(g is not None and g.any() for name, g in gradients.items() if name.startswith(part))


def test_one_sample_in_eval_is_the_same_as_in_a_batch(on_codes: MultimodalEncoder) -> None:
    video, audio, text = inputs("codes")
    on_codes.eval()
    with torch.no_grad():
        together, _ = on_codes(video, audio, text)
        alone, _ = on_codes(video[:1], audio[:1], text[:1])
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_each_modality_moves_the_bottleneck(on_codes: MultimodalEncoder, changed: int) -> None:
    parts = list(inputs("codes"))
    on_codes.eval()
    with torch.no_grad():
        before, _ = on_codes(*parts)
        parts[changed] = parts[changed].flip(0)
        after, _ = on_codes(*parts)
    assert not torch.allclose(before, after, atol=1e-6)


def test_the_bottleneck_has_no_activation(on_codes: MultimodalEncoder) -> None:
    on_codes.eval()
    with torch.no_grad():
        bottleneck, _ = on_codes(*inputs("codes"))
    assert (bottleneck < 0).any()
    assert (bottleneck > 0).any()


def test_a_mask_reaches_the_audio_branch(on_codes: MultimodalEncoder) -> None:
    video, audio, text = inputs("codes")
    other = audio.clone()
    other[:, :, 60:] = 5
    mask = torch.arange(112).expand(2, -1) < 60
    on_codes.eval()
    with torch.no_grad():
        one, two = (on_codes(video, codes, text, mask)[0] for codes in (audio, other))
    torch.testing.assert_close(one, two)


def test_sizes_are_parameters() -> None:
    model = MultimodalEncoder(
        video_height=30,
        video_width=40,
        audio="mel",
        audio_options={"channels": 80, "output_features": 32},
        text_features=16,
        bottleneck=64,
        voxels=10,
    ).eval()
    with torch.no_grad():
        bottleneck, voxels = model(torch.randn(3, 3, 30, 40), torch.randn(3, 80, 20), torch.randn(3, 16))
    assert bottleneck.shape == (3, 64)
    assert voxels.shape == (3, 10)


def test_nothing_is_left_behind_when_the_model_moves() -> None:
    """All that a device needs is a parameter or a buffer, so that `.to("cuda")` is enough; `meta` stands for it."""
    model = MultimodalEncoder(audio="codes", audio_options={"per_codebook": True}, voxels=10).to("meta")
    kept = [
        (type(module).__name__, name)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    ]
    assert not kept
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"meta"}


def test_the_default_input_is_mel_without_voxels() -> None:
    with torch.device("meta"):
        model = MultimodalEncoder()
    assert model.audio_encoder.input == "mel"
    assert model.bottleneck_to_voxels is None
