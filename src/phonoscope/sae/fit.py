"""One model from its frames to its scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
from phonoscope.config.sae import SaeConfig
from phonoscope.config.sites import Form
from phonoscope.errors import DataError
from phonoscope.sae.data import Array, Frames
from phonoscope.sae.metrics import BATCH, Scores, feature_table, frame_sums, l0_curve, mean_output, score
from phonoscope.sae.models import SparseAutoencoder, build_shape
from phonoscope.sae.train import SaeTrainer
from phonoscope.stats import Interval, ratio_interval

BLOCKS = 100  # stretches of consecutive frames that stand for utterances where these are not given
HELD_OUT = 0.2  # share of the utterances that `train_sae` holds out where no frames are given


@dataclass(frozen=True)
class Fitted:
    """A trained model and its results; the scores are those of the held-out frames."""

    model: SparseAutoencoder
    scores: Scores
    features: pd.DataFrame  # one row a feature, see `feature_table`
    curve: pd.DataFrame  # every `log_every` steps the losses apart, L0, dead share, learning rate and gradient
    l0: pd.DataFrame  # FVU over L0, see `l0_curve`
    table: pd.DataFrame | None = None  # of `train_sae`: rows fvu, l0 and dead_share; columns metric, value, low, high

    @property
    def metrics(self) -> dict[str, float]:
        """Scores by name; of a crosscoder also the FVU of every layer."""
        scores, layers = self.scores, self.scores.fvu_by_layer
        by_layer = {f"fvu_layer_{layer}": fvu for layer, fvu in enumerate(layers, start=1)} if len(layers) > 1 else {}
        return {"fvu": scores.fvu, "cosine": scores.cosine, "l0": scores.l0, "dead_share": self.dead_share} | by_layer

    @property
    def dead_share(self) -> float:
        """Share of the features that are active in no train frame."""
        return float((self.features["dead"] == "true").mean())


def train_sae(
    activations: Array | Frames,
    held_out: Array | Frames | None = None,
    *,
    utterances: NDArray[Any] | None = None,
    config: SaeConfig | None = None,
    device: str | torch.device = "cpu",
    confidence: float = 0.95,
    **settings: Any,
) -> Fitted:
    """Train a sparse autoencoder on activations, and score it on held-out ones.

    Args:
        activations: [frames, width] of any float type, memory-mapped or not; [frames, layers, width] trains a
            crosscoder; `Frames.of(inputs, outputs)` a transcoder.
        held_out: frames for the scores; otherwise a fifth of the utterances is held out.
        utterances: utterance of each row of `activations` [frames]; otherwise stretches of consecutive frames stand for
            utterances. Whole utterances are held out, and left out for the intervals: neighbouring frames are alike.
        config: settings; `settings` replace single ones: kind="topk", k=16, expansion=4, epochs=2.
        confidence: coverage of the jackknife intervals over held-out utterances; of fewer than two there are none.
    Returns: the model, and `table` with FVU, L0 and dead share with their intervals.
    Raises: `ParamsError` for impossible settings, `DataError` for frames that cannot be learned from.
    """
    config = SaeConfig.model_validate({**(config or SaeConfig()).model_dump(), **settings})
    train, layers = _frames(activations)
    form: Form = "crosscoder" if layers > 1 else "autoencoder" if train.same else "transcoder"
    if held_out is None:
        units = _blocks(len(train)) if utterances is None else _codes(utterances)[train.rows]
        chosen = _held_out(units, config.seed)
        train, rest = (replace(train, rows=train.rows[mask]) for mask in (~chosen, chosen))
        units = units[chosen]
    else:
        rest = _frames(held_out)[0]
        units = _blocks(len(rest))
    trainer = fit(train, form, config, torch.device(device), layers=layers)
    fitted = evaluate(trainer, train, rest)
    sums = frame_sums(fitted.model, rest.batches(trainer.device), mean_output(train.batches(trainer.device)))
    return replace(fitted, table=_table(fitted, sums, _codes(units), confidence))


def fit(
    train: Frames,
    form: Form,
    config: SaeConfig,
    device: torch.device,
    *,
    layers: int = 1,
    checkpoint: Path | None = None,
) -> SaeTrainer:
    """Train a model; the trainer that is returned has it in inference form.

    A crosscoder's frames hold `layers` layers, layer by layer. `checkpoint` is written from time to time and at the
    end, and resumed from if it exists; the caller removes it. Raises: as `train_sae`.
    """
    shape = build_shape(form, config, d_in=train.inputs.shape[1], d_out=train.outputs.shape[1], layers=layers)
    trainer = SaeTrainer(SparseAutoencoder(shape), train, config, device)
    if checkpoint is not None and checkpoint.exists():
        trainer.resume(checkpoint)
    trainer.run(checkpoint)
    trainer.finish()
    return trainer


def untrained(model: SparseAutoencoder, train: Frames, seed: int) -> SparseAutoencoder:
    """A model of the same shape as it stands before its first training step, in inference form."""
    config, device = SaeConfig(seed=seed), model.W_dec.device
    return SaeTrainer(SparseAutoencoder(model.shape), train, config, device).finish()


def evaluate(trainer: SaeTrainer, train: Frames, held_out: Frames) -> Fitted:
    """Score a trained model on held-out frames; its train frames give the mean, the thresholds, the dead features."""
    model, device = trainer.model, trainer.device
    mean = mean_output(train.batches(device))
    seen, _ = train.take(train.sample(trainer.config.seed, BATCH), device)
    features = feature_table(model, train.batches(device), held_out.batches(device))
    scores = score(model, held_out.batches(device), mean)
    curve = l0_curve(model, [seen], list(held_out.batches(device)), mean)
    return Fitted(model, scores, features, pd.DataFrame(trainer.curve), curve)


def _frames(activations: Array | Frames) -> tuple[Frames, int]:
    if isinstance(activations, Frames):
        return activations, 1
    if activations.ndim not in (2, 3):
        raise DataError(f"activations have the shape {tuple(activations.shape)}; give [frames, width]")
    layers = activations.shape[1] if activations.ndim == 3 else 1
    return Frames.of(activations.reshape(len(activations), layers * activations.shape[-1])), layers


def _codes(names: NDArray[Any]) -> NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1]


def _blocks(frames: int) -> NDArray[np.int64]:
    return np.arange(frames) * min(BLOCKS, frames) // frames


def _held_out(units: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    names = np.unique(units)
    if len(names) < 2:
        raise DataError("one utterance cannot be split into train and held-out frames; give more, or held_out")
    count = max(1, round(HELD_OUT * len(names)))
    return np.isin(units, np.random.default_rng(derive_seed(seed, "held out")).permutation(names)[:count])


def _table(fitted: Fitted, sums: NDArray[np.float64], units: NDArray[np.int64], confidence: float) -> pd.DataFrame:
    """FVU and L0 with intervals over units; the dead share is a count, without error. sums: [frames, 3]."""
    unexplained, total, active = (np.bincount(units, weights=column) for column in sums.T)
    bounds = {
        "fvu": _ratio(unexplained, total, confidence),
        "l0": _ratio(active, np.bincount(units), confidence),
        "dead_share": Interval(*3 * (fitted.dead_share,)),
    }
    return pd.DataFrame([{"metric": name} | bound._asdict() for name, bound in bounds.items()])


def _ratio(totals: NDArray[Any], counts: NDArray[Any], confidence: float) -> Interval:
    if len(counts) < 2:  # one utterance says nothing about others
        return Interval(float(totals.sum() / counts.sum()), -np.inf, np.inf)
    return ratio_interval(totals, counts, confidence=confidence)
