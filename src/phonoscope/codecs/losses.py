"""Losses of codec training."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

STFT_WINDOWS = (1024, 512, 256, 128)
LOG_FLOOR = 1e-4  # of magnitudes: without it, the log of silence would outweigh all speech
N_MELS = 40
LOG_MEL_MEAN, LOG_MEL_SCALE = -2.0, 4.0  # of speech, roughly: Adam moves a bias only by its learning rate per step


def magnitude(audio: Tensor, window: int) -> Tensor:
    """STFT magnitudes with a Hann window and a hop of a quarter: [B, T] -> [B, window / 2 + 1, F]."""
    hann = torch.hann_window(window, device=audio.device)
    spectrum = torch.stft(audio, window, window // 4, window=hann, return_complex=True)
    # not abs(), whose gradient at zero is undefined
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)


def multi_scale_stft_loss(reference: Tensor, estimate: Tensor) -> Tensor:
    """Spectral convergence plus log-magnitude L1 over several windows (arXiv:1910.11480, eq. 6). [B, T] each."""
    total = reference.new_zeros(())
    for window in STFT_WINDOWS:
        target, output = magnitude(reference, window), magnitude(estimate, window)
        # by clip, so that a loud one does not hide the others
        convergence = (target - output).norm(dim=(1, 2)) / target.norm(dim=(1, 2)).clamp(min=1e-3)
        log_l1 = ((target + LOG_FLOOR).log() - (output + LOG_FLOOR).log()).abs().mean(dim=(1, 2))
        total = total + (convergence + log_l1).mean()
    return total / len(STFT_WINDOWS)


def waveform_loss(reference: Tensor, estimate: Tensor) -> Tensor:
    """Squared error as a share of the clip's energy, floored for quiet clips: 10 ** (-SNR / 10). [B, T] each."""
    floor = 1e-5 * reference.shape[-1]
    energy = reference.square().sum(dim=1).clamp(min=floor)
    return ((reference - estimate).square().sum(dim=1) / energy).mean()


@cache
def _mel_filters(sample_rate: int, n_fft: int) -> Tensor:
    import torchaudio

    return torchaudio.functional.melscale_fbanks(n_fft // 2 + 1, 0.0, sample_rate / 2, N_MELS, sample_rate)


def log_mel(audio: Tensor, sample_rate: int, hop: int) -> Tensor:
    """Log-mel energies, roughly standardised, centred on the codec's frames: [B, T] -> [B, N_MELS, T // hop]."""
    n_fft = 1024
    # window i is then centred on the middle of codec frame i; torch's own centring is on its first sample
    padded = F.pad(audio, ((n_fft - hop) // 2, (n_fft - hop) // 2))
    hann = torch.hann_window(n_fft, device=audio.device)
    power = torch.stft(padded, n_fft, hop, window=hann, center=False, return_complex=True).abs().square()
    filters = _mel_filters(sample_rate, n_fft).to(audio.device)
    energies = (filters.t() @ power + LOG_FLOOR).log()[..., : audio.shape[-1] // hop]
    return (energies - LOG_MEL_MEAN) / LOG_MEL_SCALE


def distillation_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """SpeechTokenizer's D-axis distillation (arXiv:2308.16692, eq. 2): mean of -log sigmoid of the cosine over time.

    projected, teacher: [B, F, D'], the student's RVQ layer 1 after its linear map and the teacher's features.
    """
    return -F.logsigmoid(F.cosine_similarity(projected, teacher, dim=1)).mean()
