from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from phonoscope.codecs.losses import (
    N_MELS,
    STFT_WINDOWS,
    distillation_loss,
    log_mel,
    magnitude,
    multi_scale_stft_loss,
    waveform_loss,
)

from .tiny import voice


def batch(seconds: float = 0.3) -> torch.Tensor:
    return torch.from_numpy(np.stack([voice(seconds, seed=seed) for seed in range(2)]))


@pytest.mark.parametrize("window", STFT_WINDOWS)
def test_magnitude_is_that_of_the_stft(window: int) -> None:
    audio = batch()
    spectrum = torch.stft(audio, window, window // 4, window=torch.hann_window(window), return_complex=True)
    torch.testing.assert_close(magnitude(audio, window), (spectrum.abs() ** 2 + 1e-9).sqrt())


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


def test_distillation_loss_is_least_where_the_student_is_the_teacher_at_any_scale() -> None:
    teacher = torch.randn(2, 20, 5, generator=torch.Generator().manual_seed(1))
    best = float(distillation_loss(3 * teacher, teacher))
    assert best == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)
    assert float(distillation_loss(-teacher, teacher)) > float(distillation_loss(teacher.flip(1), teacher)) > best
