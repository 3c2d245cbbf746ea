"""The study of audio encoders: one training, all arms, and arms compared seed by seed."""

from __future__ import annotations

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
from phonoscope.stats import Interval, crossed_interval


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


def hits_table(name: str, trained: Sequence[Trained]) -> pd.DataFrame:
    """`Trained.hits` of every seed with the columns encoder and seed."""
    return pd.concat([one.hits.assign(encoder=name, seed=seed) for seed, one in enumerate(trained)], ignore_index=True)


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


def accuracy(hits: pd.DataFrame, encoder: str, task: str, confidence: float = 0.95) -> Interval:
    """Accuracy of an encoder, with an interval over trainings and eval utterances. `hits` is from `hits_table`."""
    windows, right = _by_seed(hits, task)
    return crossed_interval(right[encoder].to_numpy(), windows.to_numpy(dtype=np.float64), confidence=confidence)


def compare(
    hits: pd.DataFrame, arm: str, task: str, reference: str = "codes", confidence: float = 0.95
) -> dict[str, Any]:
    """An arm against the reference in accuracy, from the same seeds and on the same eval utterances.

    hits: from `hits_table`, of both. Returns: encoder, metric, value, reference, difference, low, high, n, runs.
    """
    windows, right = _by_seed(hits, task)
    difference = right[arm] - right[reference]
    interval = crossed_interval(difference.to_numpy(), windows.to_numpy(dtype=np.float64), confidence=confidence)
    every = float(windows.sum() * len(right))
    return {
        "encoder": arm,
        "metric": f"accuracy_{task}",
        "value": float(right[arm].to_numpy().sum() / every),
        "reference": float(right[reference].to_numpy().sum() / every),
        **dict(zip(("difference", "low", "high"), interval, strict=True)),
        "n": len(windows),
        "runs": len(right),
    }


def _by_seed(hits: pd.DataFrame, task: str) -> tuple[Any, pd.DataFrame]:
    """Windows by utterance, and windows classified right by seed (rows), encoder and utterance (columns)."""
    rows = hits[hits["task"] == task]
    right = rows.pivot_table(index="seed", columns=["encoder", "utterance"], values="right")
    return rows.groupby("utterance")["windows"].first().astype(float), right
