from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from phonoscope.codecs.losses import N_MELS, distillation_loss, log_mel, multi_scale_stft_loss, waveform_loss

from .tiny import voice


def batch() -> torch.Tensor:
    return torch.from_numpy(np.stack([voice(0.3, seed=seed) for seed in range(2)]))


def test_stft_loss_is_that_of_its_equation_with_plain_magnitudes() -> None:
    audio, total = batch(), 0.0
    for window in (1024, 512, 256, 128):
        hann = torch.hann_window(window)
        reference, estimate = (
            torch.stft(clips, window, window // 4, window=hann, return_complex=True).abs()
            for clips in (audio, audio.flip(0))
        )
        for target, output in zip(reference, estimate, strict=True):
            log_l1 = float(((target + 1e-4).log() - (output + 1e-4).log()).abs().mean())
            total += (float((target - output).norm() / target.norm()) + log_l1) / 2 / 4
    assert float(multi_scale_stft_loss(audio, audio.flip(0))) == pytest.approx(total, rel=0.02)


def test_stft_loss_is_zero_only_for_the_same_audio_and_differentiable_at_silence() -> None:
    audio = batch()
    assert float(multi_scale_stft_loss(audio, audio)) == 0
    changed = audio.clone()
    changed[1, 1000] += 0.01
    assert float(multi_scale_stft_loss(audio, changed)) > 1e-5
    assert float(multi_scale_stft_loss(audio, torch.zeros_like(audio))) > 1
    silence = torch.zeros(1, 4800, requires_grad=True)
    multi_scale_stft_loss(torch.zeros(1, 4800), silence).backward()
    assert bool(silence.grad.isfinite().all())


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.0])
def test_waveform_loss_is_the_inverse_snr_and_bounded_for_a_silent_clip(snr_db: float) -> None:
    audio = batch()
    noise = torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    noise *= (audio.square().sum(1) / noise.square().sum(1)).sqrt()[:, None] * 10 ** (-snr_db / 20)
    assert float(waveform_loss(audio, audio + noise)) == pytest.approx(10 ** (-snr_db / 10), rel=1e-4)
    assert float(waveform_loss(audio, torch.zeros_like(audio))) == pytest.approx(1.0)
    assert float(waveform_loss(torch.zeros(1, 1000), torch.full((1, 1000), 0.01))) == pytest.approx(10.0)


def test_log_mel_has_one_frame_a_hop_centred_on_that_of_the_codec() -> None:
    for rate, frames, extra in ((16_000, 10, 0), (16_000, 10, 319), (24_000, 33, 0)):
        assert log_mel(torch.zeros(2, frames * 320 + extra), rate, 320).shape == (2, N_MELS, frames)
    for frame in (3, 10, 20):
        click = torch.zeros(1, 30 * 320)
        click[0, frame * 320 + 160] = 1.0
        energy = log_mel(click, 16_000, 320).sum(dim=1)[0]
        assert int(energy.argmax()) == frame
        assert float(energy[frame - 1]) == pytest.approx(float(energy[frame + 1]), rel=1e-4)  # Hann is symmetric


def test_distillation_loss_is_the_paper_s_by_a_loop_over_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 20, 7, generator=generator) for _ in range(2))
    total = 0.0
    for clip in range(3):
        for dimension in range(7):
            a, b = student[clip, :, dimension].numpy(), teacher[clip, :, dimension].numpy()
            cosine = float(a @ b) / (float(np.linalg.norm(a)) * float(np.linalg.norm(b)))
            total -= math.log(1 / (1 + math.exp(-cosine)))
    assert float(distillation_loss(student, teacher)) == pytest.approx(total / 21, rel=1e-5)
    best = float(distillation_loss(3 * teacher, teacher))  # at any scale
    assert best == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)
