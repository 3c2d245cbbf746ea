import numpy as np
import pytest
import torch

from phonoscope.errors import DataError
from phonoscope.studies.collapse.features import augment, digit_clips, log_mel_clips

from .words import MELS, planted_clips

RATE = 8000


def tone(frequency_hz: float, duration_s: float = 0.3) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * RATE)) / RATE).astype(np.float32)


def test_log_mel_has_a_frame_each_20_ms_and_its_peak_at_the_tone() -> None:
    clips = log_mel_clips(([tone(300, 0.5), tone(2500, 0.5)], [0, 1]), RATE, 40)
    assert clips.bounds.tolist() == [0, 26, 52]
    assert clips.mel.dtype == np.float32
    assert clips.mel[10].argmax() < 15 < 25 < clips.mel[36].argmax()


def test_a_batch_holds_each_clip_and_zeros_beyond_it() -> None:
    clips = planted_clips(7, 3, seed=3)
    assert len(clips) == 7
    chosen = np.array([5, 0, 6])
    batch = clips.batch(chosen)
    assert batch.mel.shape == (3, int(batch.lengths.max()), MELS)
    for row, clip in enumerate(chosen):
        own = clips.mel[clips.bounds[clip] : clips.bounds[clip + 1]]
        assert np.array_equal(batch.mel[row, : len(own)].numpy(), own)
        assert not batch.mel[row, len(own) :].any()
    assert batch.labels.tolist() == clips.labels[chosen].tolist()


def test_bands_are_standardised_by_the_train_clips_alone() -> None:
    train = ([tone(400), tone(800)], [4, 8])
    first, loud = (digit_clips(train, ([gain * tone(500)], [5]), RATE, 20) for gain in (1, 30))
    assert first.train.mel.mean(axis=0) == pytest.approx(np.zeros(20), abs=1e-4)
    assert first.train.mel.std(axis=0) == pytest.approx(np.ones(20), abs=0.01)
    assert np.array_equal(first.train.mel, loud.train.mel)
    assert loud.held_out.mel.mean() > 0.5


@pytest.mark.parametrize(
    ("train", "held_out", "match"),
    [
        (([], []), ([tone(400)], [1]), "0 digit classes in 0 clips"),
        (([tone(400), tone(500)], [3, 3]), ([tone(400)], [1]), "1 digit classes in 2 clips"),
        (([tone(400), tone(500)], [3, 4]), ([], []), "eval split has no isolated digit"),
    ],
)
def test_too_few_digits_are_refused(train: tuple, held_out: tuple, match: str) -> None:
    with pytest.raises(DataError, match=match):
        digit_clips(train, held_out, RATE, 20)


def test_augmentation_changes_the_clips_but_neither_padding_nor_labels() -> None:
    clips = planted_clips(40, 3, seed=1)
    batch = clips.batch(np.arange(40))
    changed = augment(batch, torch.Generator().manual_seed(0))
    padding = torch.arange(batch.mel.shape[1]) >= batch.lengths[:, None]
    assert not changed.mel[padding].any()
    difference = (changed.mel - batch.mel)[~padding]
    assert 0.05 < difference.abs().median() < 0.3
    masked = (changed.mel == 0) & ~padding[..., None]
    assert 0.01 < masked.float().mean() < 0.3
    assert torch.equal(changed.labels, batch.labels)
    assert torch.equal(changed.mel, augment(batch, torch.Generator().manual_seed(0)).mel)
