"""Initial component weights of frames, and candidates for merging components."""

import numpy as np
import torch
from torch import Tensor

from phonoscope.studies.collapse.emissions import Categorical, Emission

NEIGHBOURS = 3  # frames to each side that count as a code's context


def start_emission(emission: Emission, x: Tensor, mask: Tensor, seed: int) -> Tensor:
    """Set the components from k-means of vectors or from the codes' co-occurrences; the frames' weights [N, K]."""
    from sklearn.cluster import KMeans

    emission.centre(x[mask])
    if isinstance(emission, Categorical):
        weights = _code_shares(x, mask, emission.codes, emission.components, seed)[x[mask]]
    else:
        rows = x[mask].double().numpy()
        clusters = min(emission.components, len(np.unique(rows, axis=0)))
        labels = torch.from_numpy(KMeans(clusters, n_init=1, random_state=seed).fit_predict(rows).astype(np.int64))
        weights = torch.nn.functional.one_hot(labels, emission.components).double()
    emission.absorb(emission.statistics(x[mask], weights))
    return weights


def merge_candidates(emission: Emission, frames: Tensor, weights: Tensor) -> list[tuple[int, int]]:
    """Pairs of components in use, the most similar first; at most two pairs per component.

    Frames [N, ...] have weights [N, K]; those of similar components lose little log-likelihood under the other one.
    """
    used = torch.nonzero(weights.sum(0) > 1e-3).flatten().tolist()
    # cross[i, k]: mean E[log p(x | k)] over the frames of i, so that loss[i, k] estimates KL(p_i || p_k)
    cross = weights.T @ emission.expected_log_likelihood(frames) / weights.sum(0).clamp_min(1e-12)[:, None]
    loss = cross.diagonal()[:, None] - cross
    pairs = sorted((float(loss[i, k] + loss[k, i]), i, k) for i in used for k in used if i < k)
    return [(i, k) for _, i, k in pairs[: 2 * len(used)]]


def _code_shares(codes: Tensor, mask: Tensor, vocabulary: int, components: int, seed: int) -> Tensor:
    """Component weights of every code [V, K]: a non-negative factorization of the co-occurrence matrix."""
    # codes have no geometry for k-means, but those of one component or state occur near one another
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import NMF

    counts = _cooccurrences(codes, mask, vocabulary)
    used = counts.sum(1) > 0
    shares = torch.full((vocabulary, components), 1 / components, dtype=torch.float64)
    if not used.any():
        return shares
    rank = min(components, int(used.sum()))
    nmf = NMF(rank, init="nndsvda", solver="mu", beta_loss="kullback-leibler", max_iter=100, tol=0, random_state=seed)
    # W H with H scaled to rows of sum 1: W then holds the expected counts of each component
    weights = nmf.fit_transform(csr_matrix(counts[used][:, used].numpy())) * nmf.components_.sum(1)
    table = torch.zeros(len(weights), components, dtype=torch.float64)
    table[:, :rank] = torch.from_numpy(weights) + 1e-12
    # mixed with 1 % of the uniform distribution: a weight of exactly 0 could never grow
    shares[used] = 0.99 * table / table.sum(1, keepdim=True) + 0.01 / components
    return shares


def _cooccurrences(codes: Tensor, mask: Tensor, vocabulary: int) -> Tensor:
    """Counts of pairs of codes at most `NEIGHBOURS` frames apart, [V, V], symmetric."""
    table = torch.zeros(vocabulary * vocabulary, dtype=torch.float64)
    for step in range(1, min(NEIGHBOURS, mask.shape[1] - 1) + 1):
        both = mask[:, step:] & mask[:, :-step]
        pairs = codes[:, :-step][both] * vocabulary + codes[:, step:][both]
        table += torch.bincount(pairs, minlength=len(table))
    return table.view(vocabulary, vocabulary) + table.view(vocabulary, vocabulary).T
