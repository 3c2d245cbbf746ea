"""One model from its frames to its scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from phonoscope.compute import derive_seed
from phonoscope.config.sae import SaeConfig
from phonoscope.errors import DataError
from phonoscope.sae.data import Array, Frames
from phonoscope.sae.metrics import BATCH, Scores, feature_table, frame_sums, l0_curve, mean_output, score
from phonoscope.sae.models import SparseAutoencoder, build_shape
from phonoscope.sae.train import SaeTrainer
from phonoscope.stats import ratio_interval

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from phonoscope.config.sites import Form

log = logging.getLogger(__name__)
BLOCKS = 100
"""Stretches of consecutive frames that stand for utterances where these are not given."""
HELD_OUT = 0.2
"""Share of the utterances that `train_sae` holds out where no frames are given."""


@dataclass(frozen=True)
class Fitted:
    """A trained model and its results; the scores are those of the held-out frames."""

    model: SparseAutoencoder
    scores: Scores
    features: pd.DataFrame
    """One row a feature, see `feature_table`."""
    curve: pd.DataFrame
    """Training curve, see `SaeTrainer.curve_frame`."""
    l0: pd.DataFrame
    """FVU over L0, see `l0_curve`."""
    dead_tokens: int
    """Frames without firing after which a feature counted as dead in training."""
    table: pd.DataFrame | None = None
    """Of `train_sae`: rows fvu, l0 and dead_share; columns metric, value, low, high."""

    @property
    def metrics(self) -> dict[str, float]:
        """Scores by name; of a crosscoder also the FVU of every layer."""
        scores = self.scores
        by_layer = {f"fvu_layer_{layer}": fvu for layer, fvu in enumerate(scores.fvu_by_layer, start=1)}
        common = {"fvu": scores.fvu, "cosine": scores.cosine, "l0": scores.l0, "dead_share": self.dead_share}
        return common | (by_layer if len(by_layer) > 1 else {})

    @property
    def dead_share(self) -> float:
        """Share of the features that are active in no train frame."""
        return float((self.features["dead"] == "true").mean())


class Trained(NamedTuple):
    """A trained model without scores."""

    model: SparseAutoencoder
    curve: pd.DataFrame
    dead_tokens: int


def train_sae(
    activations: Array | Frames,
    held_out: Array | Frames | None = None,
    *,
    utterances: NDArray[Any] | None = None,
    config: SaeConfig | None = None,
    device: str | torch.device = "cpu",
    samples: int = 1000,
    confidence: float = 0.95,
    **settings: Any,
) -> Fitted:
    """Train a sparse autoencoder on activations, and score it on held-out ones.

    Args:
        activations: [frames, width] of any float type, memory-mapped or not; [frames, layers, width] trains a
            crosscoder; `Frames.of(inputs, outputs)` a transcoder.
        held_out: frames for the scores; otherwise a fifth of the utterances is held out.
        utterances: utterance of each row of `activations` [frames]; otherwise stretches of consecutive frames stand for
            utterances. Whole utterances are held out and resampled, since neighbouring frames are alike.
        config: settings; `settings` replace single ones: kind="topk", k=16, expansion=4, epochs=2.
        samples, confidence: bootstrap of the intervals.
    Returns: the model, and `table` with FVU, L0 and dead share with their intervals.
    Raises: `ParamsError` for impossible settings, `DataError` for frames that cannot be learned from.
    """
    config = SaeConfig.model_validate({**(config or SaeConfig()).model_dump(), **settings})
    frames, layers = _frames(activations)
    form: Form = "crosscoder" if layers > 1 else "autoencoder" if frames.same else "transcoder"
    build_shape(form, config, d_in=frames.inputs.shape[1], d_out=frames.outputs.shape[1], layers=layers)
    units = _blocks(len(frames)) if utterances is None else np.unique(utterances, return_inverse=True)[1][frames.rows]
    if held_out is None:
        chosen = _held_out(units, config.seed)
        train, rest, units = frames.where(~chosen), frames.where(chosen), units[chosen]
    else:
        train, rest = frames, _frames(held_out)[0]
        units = _blocks(len(rest))
    where = torch.device(device)
    fitted = evaluate(fit(train, form, config, where, layers=layers), train, rest, config, where)
    sums = frame_sums(fitted.model, rest.batches(where), mean_output(train.batches(where)))
    return Fitted(**{**vars(fitted), "table": _table(fitted, sums, units, samples, confidence, config.seed)})


def fit(
    train: Frames,
    form: Form,
    config: SaeConfig,
    device: torch.device,
    *,
    layers: int = 1,
    checkpoint: Path | None = None,
) -> Trained:
    """Train a model.

    Args:
        form: model to train; a crosscoder's frames hold `layers` layers, layer by layer.
        checkpoint: file that is written from time to time and at the end, and resumed from if it exists. The caller
            removes it.
    Raises: `ParamsError` if k exceeds the number of features, `DataError` for frames that cannot be learned from.
    """
    shape = build_shape(form, config, d_in=train.inputs.shape[1], d_out=train.outputs.shape[1], layers=layers)
    trainer = SaeTrainer(SparseAutoencoder(shape), train, config, device)
    if checkpoint is not None and checkpoint.exists():
        _resume(trainer, checkpoint)
    trainer.run(checkpoint)
    return Trained(trainer.finish(), trainer.curve_frame(), trainer.dead_tokens)


def evaluate(trained: Trained, train: Frames, held_out: Frames, config: SaeConfig, device: torch.device) -> Fitted:
    """Score a model on held-out frames; its train frames give the mean, the thresholds, and the dead features."""
    model, mean = trained.model, mean_output(train.batches(device))
    seen, _ = train.take(train.sample(config.seed, BATCH), device)
    return Fitted(
        model,
        score(model, held_out.batches(device), mean),
        feature_table(model, train.batches(device), held_out.batches(device)),
        trained.curve,
        l0_curve(model, [seen], list(held_out.batches(device)), mean),
        trained.dead_tokens,
    )


def _resume(trainer: SaeTrainer, checkpoint: Path) -> None:
    """Continue from a checkpoint of the same training; another training's is ignored and overwritten."""
    try:
        trainer.load(checkpoint)
        log.info("resumed from %s at step %d", checkpoint, trainer.step)
    except DataError as error:
        log.warning("started again: %s", error)


def _frames(activations: Array | Frames) -> tuple[Frames, int]:
    """Frames, and the layers in one of them."""
    if isinstance(activations, Frames):
        return activations, 1
    if activations.ndim not in (2, 3):
        raise DataError(f"activations have the shape {tuple(activations.shape)}; give [frames, width]")
    layers = activations.shape[1] if activations.ndim == 3 else 1
    return Frames.of(activations.reshape(len(activations), -1)), layers


def _blocks(frames: int) -> NDArray[np.int64]:
    return np.arange(frames) * min(BLOCKS, frames) // max(frames, 1)


def _held_out(units: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Frames of a fifth of the units, drawn at random."""
    names = np.unique(units)
    if len(names) < 2:
        raise DataError("one utterance cannot be split into train and held-out frames; give more, or held_out")
    count = max(1, round(HELD_OUT * len(names)))
    drawn = np.random.default_rng(derive_seed(seed, "held out")).permutation(names)[:count]
    return np.isin(units, drawn)


def _table(
    fitted: Fitted,
    sums: NDArray[np.float64],
    units: NDArray[np.int64],
    samples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """FVU and L0 with bootstrap intervals over units; the dead share is a count, without error. sums: [frames, 3]."""
    import pandas as pd

    owner = np.unique(units, return_inverse=True)[1]
    unexplained, total, active = (np.bincount(owner, weights=column) for column in sums.T)
    frames = np.bincount(owner).astype(np.float64)
    rows: dict[str, tuple[Any, Any]] = {"fvu": (unexplained, total), "l0": (active, frames)}
    table = [
        {"metric": name}
        | ratio_interval(*pair, samples=samples, confidence=confidence, seed=derive_seed(seed, name))._asdict()
        for name, pair in rows.items()
    ]
    dead = fitted.dead_share
    return pd.DataFrame([*table, {"metric": "dead_share", "value": dead, "low": dead, "high": dead}])
