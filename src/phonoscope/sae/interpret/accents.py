"""Accents: profiles of their mean activations, and maps of utterances and features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def skip_reason(accents: Sequence[str]) -> str:
    """Reason why accents cannot be compared; empty if they can."""
    names = sorted(set(accents) - {""})
    there = f"one accent ({names[0]})" if names else "no accents"
    return "" if len(names) >= 2 else f"the corpus has {there}: nothing to compare"


def accent_profiles(means: NDArray[np.float64], accents: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The accents, sorted, and the mean profile of each over its speakers, [accents, features that vary].

    means: mean activation of each speaker, [speakers, features]. accents: one a speaker, or empty.
    """
    labels = np.array(accents)
    accent, known = labels[labels != ""], means[labels != ""]
    deviation = known.std(axis=0)
    # standardised over the speakers, so that a feature of large activations does not decide alone
    scores = (known - known.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    names = tuple(sorted(set(accent.tolist())))
    return names, np.stack([scores[accent == name].mean(axis=0) for name in names])


def tsne(points: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """A t-SNE map [points, 2] by cosine distance, on one thread so that it is the same each time."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(points) - 1) / 3)
    mapper = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed, n_jobs=1)
    with threadpool_limits(1):
        return np.asarray(mapper.fit_transform(points))
