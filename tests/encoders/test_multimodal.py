from typing import Any

import pytest
import torch
from torch import Tensor

from phonoscope.encoders.multimodal import MultimodalEncoder, VideoEncoder

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


def counts_of(**options: Any) -> dict[str, int]:
    """Parameters of each part of a model, and of all."""
    with torch.device("meta"):
        model = MultimodalEncoder(**options)
    return {name: count(part) for name, part in model.named_children()} | {"total": count(model)}


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Two frames of video, windows of codes and texts."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(2, 3, 90, 160, generator=generator)
    codes = torch.randint(0, 1024, (2, 8, 112), generator=generator)
    return video, codes, torch.randn(2, 1024, generator=generator)


@torch.no_grad()
def bottleneck(model: MultimodalEncoder, *parts: Tensor) -> Tensor:
    return model.eval()(*parts)[0]


@pytest.fixture(scope="module")
def on_codes() -> MultimodalEncoder:
    torch.manual_seed(0)
    return MultimodalEncoder(audio="codes")


def test_video_frames_are_encoded() -> None:
    model, frames = VideoEncoder().eval(), torch.zeros(2, 3, 90, 160, requires_grad=True)
    features = model(frames)
    assert features.shape == (2, 1024)
    assert (features >= 0).all()  # ReLU comes last
    features.sum().backward()
    assert frames.grad.ne(0).all()  # every pixel counts
    assert VideoEncoder(45, 80, 64).eval()(torch.randn(2, 3, 45, 80)).shape == (2, 64)


@pytest.mark.parametrize(
    ("audio", "audio_count", "total"), [("mel", 2_082_368, 76_708_864), ("codes", 1_214_592, 75_841_088)]
)
def test_counts_are_exactly_the_documents_and_only_the_audio_branch_differs(
    audio: str, audio_count: int, total: int
) -> None:
    parts = {**COUNTS, "audio_encoder": audio_count}
    assert counts_of(audio=audio) == {**parts, "total": total}  # nothing of the voxel head is built
    head = 1_439_600_434
    whole = {**parts, "bottleneck_to_voxels": head, "total": total + head}
    assert counts_of(audio=audio, voxels=85_810) == whole
    assert audio != "mel" or counts_of() == counts_of(audio="mel")  # the default


def test_forward_and_backward_at_batch_2(on_codes: MultimodalEncoder) -> None:
    on_codes.train().zero_grad()
    features, voxels = on_codes(*inputs())
    assert features.shape == (2, 2048)
    assert voxels is None
    # at batch 2, batch normalisation maps almost every pair to +1 and -1, and its gradient nearly vanishes
    (features * torch.randn_like(features)).sum().backward()
    gradients = {name: p.grad for name, p in on_codes.named_parameters()}
    assert all(g is not None and g.isfinite().all() for g in gradients.values())
    for part in ("video_encoder", "audio_encoder", "text_encoder"):
        assert any(g.any() for name, g in gradients.items() if name.startswith(part))


def test_one_sample_in_eval_is_the_same_as_in_a_batch_and_has_no_activation(on_codes: MultimodalEncoder) -> None:
    together = bottleneck(on_codes, *inputs())
    alone = bottleneck(on_codes, *(part[:1] for part in inputs()))
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-3)
    assert together.min() < 0 < together.max()


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_each_modality_moves_the_bottleneck(on_codes: MultimodalEncoder, changed: int) -> None:
    parts = list(inputs())
    before = bottleneck(on_codes, *parts)
    parts[changed] = parts[changed].flip(0)
    assert not torch.allclose(before, bottleneck(on_codes, *parts), atol=1e-6)


def test_a_mask_reaches_the_audio_branch(on_codes: MultimodalEncoder) -> None:
    video, audio, text = inputs()
    mask = torch.arange(112).expand(2, -1) < 60
    other = torch.where(mask[:, None], audio, 5)
    torch.testing.assert_close(*(bottleneck(on_codes, video, codes, text, mask) for codes in (audio, other)))


def test_sizes_are_parameters() -> None:
    audio = {"channels": 80, "output_features": 32}
    sizes = {"video_height": 30, "video_width": 40, "text_features": 16, "bottleneck": 64, "voxels": 10}
    model = MultimodalEncoder(audio="mel", audio_options=audio, **sizes).eval()
    with torch.no_grad():
        features, voxels = model(torch.randn(3, 3, 30, 40), torch.randn(3, 80, 20), torch.randn(3, 16))
    assert features.shape == (3, 64)
    assert voxels.shape == (3, 10)


def test_nothing_is_left_behind_when_the_model_moves() -> None:
    """All that a device needs is a parameter or a buffer, so that `.to("cuda")` is enough; `meta` stands for it."""
    model = MultimodalEncoder(audio="codes", audio_options={"per_codebook": True}, voxels=10).to("meta")
    values = [value for module in model.modules() for value in vars(module).values()]
    assert not any(isinstance(value, Tensor) for value in values)
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"meta"}
