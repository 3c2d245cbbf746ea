import pytest
import torch
import torch.nn.functional as F

from phonoscope.studies.collapse.classifier import DigitClassifier, Encoder, real_frames
from phonoscope.studies.collapse.variants import main_variants

from .words import MELS, classifier, planted_clips

NAMES = [variant.name for variant in main_variants()]


def started(name: str) -> tuple[DigitClassifier, torch.Tensor, torch.Tensor]:
    batch = planted_clips(16, 3, seed=0).batch(torch.arange(16).numpy())
    model = classifier(name)
    model.start(batch.mel, batch.lengths, data_driven=True)
    return model, batch.mel, batch.lengths


def test_the_encoder_is_three_convolutions_blind_to_other_clips() -> None:
    assert real_frames(torch.tensor([1, 3]), 3).tolist() == [[True, False, False], [True, True, True]]
    encoder = Encoder(MELS, 8, 8)
    lengths = [9, 1, 4]
    clips = [torch.randn(length, MELS) for length in lengths]
    result, after = encoder(torch.cat(clips), torch.tensor(lengths))
    assert after.tolist() == [5, 1, 2]
    for clip, own in zip(clips, result.split(after.tolist()), strict=True):
        x = clip.T[None]
        for stride, layer, norm in zip((2, 1, 1), encoder.convolutions, encoder.norms, strict=True):
            kernel = layer.weight.unflatten(1, (3, -1)).transpose(1, 2)
            x = F.gelu(norm(F.conv1d(x, kernel, layer.bias, stride=stride, padding=1).transpose(1, 2))).transpose(1, 2)
        torch.testing.assert_close(own, encoder.project(x[0].T), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_decides_from_all_its_parts(name: str) -> None:
    model, mel, lengths = started(name)
    decision = model.eval()(mel, lengths)
    assert decision.logits.shape == (16, 3)
    assert torch.allclose(decision.vectors.norm(dim=1), torch.ones(len(decision.vectors)))
    assert decision.lengths.sum() == len(decision.vectors)
    assert (decision.quantized is not None) == ("vq" in name)
    assert (decision.sequence is not None) == ("h" in name.replace("baseline", ""))
    if decision.sequence:
        assert decision.sequence.features.requires_grad == ("vq" not in name)  # behind a quantizer it sees codes
        assert decision.sequence.frames == len(decision.vectors)
        swapped = model(mel, lengths, swap_sequences=True).logits
        assert not torch.allclose(swapped, decision.logits)
        assert model.elbo(decision, utterances=16) != 0
    decision.logits.square().sum().backward()
    gradient = model.encoder.project.weight.grad
    assert gradient.abs().sum() > 0


def test_a_start_without_data_leaves_the_codebook() -> None:
    model, mel, lengths = started("vq")
    other = classifier("vq")
    before = other.quantizer.codebooks()[0]
    other.start(mel, lengths, data_driven=False)
    assert torch.equal(other.quantizer.codebooks()[0], before)
    assert not torch.equal(model.quantizer.codebooks()[0], before)
