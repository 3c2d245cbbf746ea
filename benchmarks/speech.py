"""Synthetic token frames, batch by batch: the codes of an RVQ layer depend on phone and speaker."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.compute import derive_seed

GRAIN = 4096  # size of the look-up tables that replace draws from a discrete distribution
DECAY = 5.5  # log of the ratio of the largest to the smallest standard deviation of the codebook's axes
GEOMETRY, OWN = 2.0, 1.0
"""Standard deviations of the two terms of a code's logit for a class: one linear in its vector, one free."""
VOICED = 0.6  # share of voiced frames


class Batch(NamedTuple):
    """Frames of one layer, each array of shape [n]."""

    codes: NDArray[np.int16]
    phones: NDArray[np.int16]
    speakers: NDArray[np.int16]
    f0_hz: NDArray[np.float64]  # NaN where unvoiced


class SpeechLayer:
    """One layer of one codec. A frame's code is drawn given its phone (less often in deeper layers) or its speaker.

    Phones, speakers and F0 of a batch are the same in all layers and codecs with the same seed.
    """

    def __init__(
        self, codec: int, layer: int, *, dims: int, codes: int, phones: int, speakers: int, seed: int = 0
    ) -> None:
        self.phone_names = tuple(f"p{i:03d}" for i in range(phones))
        self.speaker_names = tuple(f"s{i:03d}" for i in range(speakers))
        self._phonetic, self._seed, self._own_seed = 0.9**layer, seed, derive_seed(seed, codec, layer)
        labels, own = np.random.default_rng(seed), np.random.default_rng(self._own_seed)
        self._phones = deal(labels.dirichlet(np.full(phones, 2.0)))
        self._speakers = deal(labels.dirichlet(np.full(speakers, 50.0)))
        self.codebook = _correlated_rows(codes, dims, own)
        self._of_phone, self._of_speaker = (_preferences(self.codebook, n, own) for n in (phones, speakers))

    def batch(self, index: int, frames: int) -> Batch:
        """Batch number `index` with `frames` frames; every call returns the same batch."""
        rng = np.random.default_rng(derive_seed(self._seed, "labels", index))
        phones, speakers = (deck[rng.integers(GRAIN, size=frames)] for deck in (self._phones, self._speakers))
        f0 = 100 + 100 * speakers / len(self._of_speaker) + 20 * rng.normal(size=frames)
        f0[rng.random(frames) > VOICED] = np.nan
        rng = np.random.default_rng(derive_seed(self._own_seed, "codes", index))
        share, phonetic = rng.integers(GRAIN, size=frames), rng.random(frames) < self._phonetic
        codes = np.where(phonetic, self._of_phone[phones, share], self._of_speaker[speakers, share])
        return Batch(codes, phones, speakers, f0)


def deal(shares: NDArray[Any]) -> NDArray[np.int16]:
    """A look-up table [GRAIN] of outcomes, each repeated in proportion to its share [outcomes]."""
    middles = (np.arange(GRAIN) + 0.5) / GRAIN
    return np.minimum(np.searchsorted(np.cumsum(shares), middles), len(shares) - 1).astype(np.int16)


def _correlated_rows(codes: int, dims: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Code vectors [codes, dims] with variance that falls from axis to axis, as in first layers of trained codecs."""
    axes, _ = np.linalg.qr(rng.normal(size=(dims, dims)))
    rows = rng.normal(size=(codes, dims)) * np.exp(-DECAY * np.arange(dims) / dims)
    return (rows @ axes).astype(np.float32)


def _preferences(codebook: NDArray[Any], classes: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Look-up table of codes for every class, [classes, GRAIN]."""
    from scipy.special import softmax

    size, dims = codebook.shape
    logits = rng.normal(size=(classes, dims)) @ codebook.T
    logits = GEOMETRY * logits / logits.std() + OWN * rng.normal(size=(classes, size))
    return np.stack([deal(shares) for shares in softmax(logits, axis=1)])
