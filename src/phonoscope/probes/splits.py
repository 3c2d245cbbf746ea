"""Who is held out: utterances, speakers or texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.data import Manifest, Split
    from phonoscope.probes.tasks import HeldOut


class Fold(NamedTuple):
    """Which utterances train and which are scored, [utterances] each."""

    train: NDArray[np.bool_]
    evaluation: NDArray[np.bool_]


def make_folds(kind: HeldOut, split: Split, manifest: Manifest, text_folds: int = 5) -> list[Fold]:
    """The folds of a split; empty where it cannot be made (fewer than two speaker folds, or texts).

    Texts are spread over folds of equal size (scikit-learn's `GroupKFold`): no text is in train and eval at once.
    """
    if kind == "utterances":
        utterances = np.asarray(manifest.utterances)
        return [Fold(np.isin(utterances, split.train), np.isin(utterances, split.eval))]
    if kind == "speakers":
        speakers = np.asarray(manifest["speaker"], dtype=str)
        held_out = [np.isin(speakers, list(names)) for names in split.speaker_folds]
        return [Fold(~part, part) for part in held_out if part.any()] if len(held_out) > 1 else []
    return _text_folds(manifest["text"], text_folds)


def _text_folds(texts: Sequence[str], count: int) -> list[Fold]:
    from sklearn.model_selection import GroupKFold

    distinct = len(set(texts))
    if distinct < 2:
        return []
    parts = GroupKFold(min(count, distinct)).split(np.zeros(len(texts)), groups=np.asarray(texts, dtype=str))
    held_out = [np.isin(np.arange(len(texts)), evaluation) for _, evaluation in parts]
    return [Fold(~part, part) for part in held_out]
