"""The study of audio encoders: one training, all arms, and arms compared seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from phonoscope.compute import derive_seed, limit_threads, parallel_map, setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.encoders import Arm, EncoderConfig
from phonoscope.encoders.audio import AudioEncoder, InputKind
from phonoscope.encoders.train import Trained, train_encoder
from phonoscope.encoders.windows import Windows


def train_encoders(
    kind: InputKind,
    arms: Sequence[Arm | None],
    train: Windows,
    evaluation: Windows,
    codebooks: Sequence[Tensor],
    config: EncoderConfig,
    compute: ComputeConfig,
) -> dict[Arm | None, list[Trained]]:
    """An encoder of each arm (None: the encoder itself) trained from every seed, by arm.

    codebooks: the codec's vectors, one [vocabulary, dims] per layer, for an embedding that starts from them.
    """

    def run(job: tuple[Arm | None, int]) -> Trained:
        arm, index = job
        # seeds depend on the index alone: an arm sees the same batches as the encoder itself, so that their scores pair
        device = setup_torch(compute, derive_seed(config.seed, "encoder", index))
        channels = train.x.shape[1] // (2 if arm == "half_codebooks" else 1)
        encoder = build(kind, channels, config, arm, codebooks)
        seed = derive_seed(config.seed, "training", index)
        seen, unseen = (replace(windows, x=windows.x[:, :channels]) for windows in (train, evaluation))
        return train_encoder(encoder, seen, unseen, config, seed, device)

    jobs = [(arm, index) for arm in arms for index in range(config.seeds)]
    trained = parallel_map(run, jobs, workers=compute.workers, description="encoders")
    return {arm: [one for job, one in zip(jobs, trained, strict=True) if job[0] == arm] for arm in arms}


def score_table(name: str, trained: Sequence[Trained], sizes: Mapping[str, int]) -> pd.DataFrame:
    """Scores as a tidy table: encoder, seed, metric, value; sizes appear once, with seed 0."""
    rows = [(name, seed, metric, value) for seed, one in enumerate(trained) for metric, value in one.scores.items()]
    rows += [(name, 0, metric, float(value)) for metric, value in sizes.items()]
    return pd.DataFrame(rows, columns=["encoder", "seed", "metric", "value"])


def majority_shares(train: Windows, evaluation: Windows) -> dict[str, float]:
    """By task, the share of evaluation windows of the class that is most frequent in training."""
    shares = {}
    for task, labels in evaluation.labels.items():
        known = train.labels[task][train.labels[task] >= 0]
        shares[task] = float((labels[labels >= 0] == np.bincount(known).argmax()).mean())
    return shares


def full_windows(windows: Windows, count: int) -> Tensor:
    """Codes of the first `count` windows without padding, or else of the longest: [count, codebooks, frames]."""
    frames = int(windows.lengths.max())
    full = np.flatnonzero(windows.lengths >= frames - 1)[:count]
    return torch.from_numpy(windows.x[full][:, :, : frames - 1].astype(np.int64))


def build(
    kind: InputKind, channels: int, config: EncoderConfig, arm: Arm | None = None, codebooks: Sequence[Tensor] = ()
) -> AudioEncoder:
    """The encoder that the parameters describe, with the one change that `arm` names."""
    dims = config.embed_dim // 2 if arm == "half_embedding" else config.embed_dim
    pretrained = config.start == "codec" or arm in ("pretrained", "summed")
    encoder = AudioEncoder(
        kind,
        channels=channels,
        embed_dim=dims,
        per_codebook=pretrained or arm == "per_codebook",
        scramble=arm == "scrambled",
        summed=config.combine == "sum" or arm == "summed",
    )
    if pretrained and encoder.embedding is not None:
        encoder.embedding.start_from(reduce_dims(codebooks[:channels], dims))
    return encoder


def reduce_dims(codebooks: Sequence[Tensor], dims: int) -> list[Tensor]:
    """Codebook vectors of at most `dims` dimensions: longer ones are projected by one PCA over all layers."""
    from sklearn.decomposition import PCA

    if codebooks[0].shape[1] <= dims:
        return list(codebooks)
    # one projection for all, or the layers' vectors could not be added any more
    with limit_threads():
        projected = PCA(dims, random_state=0).fit_transform(torch.cat(list(codebooks)).numpy())
    return list(torch.from_numpy(projected.astype(np.float32)).split([len(vectors) for vectors in codebooks]))


def seed_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean over seeds and its Student t interval; the interval is the mean alone if the values are all equal."""
    from scipy import stats

    mean = float(np.mean(values))
    if np.ptp(values) == 0:
        return mean, mean, mean
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    return mean, float(low), float(high)


def compare(scores: pd.DataFrame, arm: str, metric: str, reference: str = "codes") -> dict[str, Any]:
    """An arm against the reference, seed by seed: both means, the mean difference and its interval.

    scores: columns encoder, seed, metric, value.
    """
    table = scores[scores["metric"] == metric].pivot_table(index="seed", columns="encoder", values="value")
    difference, low, high = seed_interval((table[arm] - table[reference]).tolist())
    return {
        "encoder": arm,
        "metric": metric,
        "value": float(table[arm].mean()),
        "reference": float(table[reference].mean()),
        "difference": difference,
        "ci_low": low,
        "ci_high": high,
    }
