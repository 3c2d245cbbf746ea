"""Accents: clustering of their mean activations, and maps of utterances and features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def skip_reason(accents: Sequence[str]) -> str:
    """Reason why accents cannot be compared; empty if they can."""
    names = sorted({accent for accent in accents if accent})
    if len(names) >= 2:
        return ""
    return f"the corpus has {'one accent (' + names[0] + ')' if names else 'no accents'}: nothing to compare"


def accent_profiles(means: NDArray[np.float64], accents: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Mean profile of every accent, over its speakers.

    Features are standardised over the speakers first, so that each counts alike; those that do not vary are left out.

    Args:
        means: mean activation of each speaker, [speakers, features].
        accents: one a speaker; speakers without one take no part.
    Returns: the accents, sorted, and their profiles [accents, features that vary].
    """
    labels = np.array(accents)
    known = means[labels != ""]
    spread = known.std(axis=0)
    scores = (known - known.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    names = tuple(sorted(set(labels[labels != ""].tolist())))
    accent = labels[labels != ""]
    return names, np.stack([scores[accent == name].mean(axis=0) for name in names])


def ward(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ward's linkage of the accents' profiles, SciPy's linkage matrix."""
    from scipy.cluster.hierarchy import linkage

    return np.asarray(linkage(profiles, method="ward"))


def tsne(points: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """A t-SNE map [points, 2] by cosine distance, on one thread so that it is the same each time."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(points) - 1) / 3)
    mapper = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed, n_jobs=1)
    with threadpool_limits(1):
        return np.asarray(mapper.fit_transform(points))
