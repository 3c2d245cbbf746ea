"""One model from its features to its scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from phonoscope.errors import DataError
from phonoscope.sae.metrics import BATCH, Scores, feature_table, l0_curve, mean_output, score
from phonoscope.sae.models import Form, SparseAutoencoder, build_shape
from phonoscope.sae.train import SaeTrainer

if TYPE_CHECKING:
    import pandas as pd

    from phonoscope.config.sae import SaeConfig
    from phonoscope.sae.data import Frames

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A trained model and its results; the scores are those of the held-out frames."""

    model: SparseAutoencoder
    scores: Scores
    features: pd.DataFrame
    """One row a feature, see `feature_table`."""
    curve: pd.DataFrame
    """The training curve, see `SaeTrainer.curve_frame`."""
    l0: pd.DataFrame
    """FVU over L0, see `l0_curve`."""
    dead_tokens: int
    """Frames without firing after which a feature counted as dead in training."""

    @property
    def dead_share(self) -> float:
        """Share of the features that are active in no train frame."""
        return float((self.features["dead"] == "true").mean())


class Trained(NamedTuple):
    """A trained model that is not scored yet."""

    model: SparseAutoencoder
    curve: pd.DataFrame
    dead_tokens: int


def fit_sae(
    train: Frames,
    held_out: Frames,
    form: Form,
    config: SaeConfig,
    device: torch.device,
    *,
    layers: int = 1,
) -> Fitted:
    """Train a model on some frames and score it on others, see `train_sae` and `evaluate_sae`."""
    trained = train_sae(train, form, config, device, layers=layers)
    return evaluate_sae(trained, train, held_out, config, device)


def train_sae(
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
        form: what is trained; a crosscoder's frames hold `layers` layers, layer by layer.
        checkpoint: file that is written from time to time and at the end, and resumed from if it is there. It is for
            the caller to remove.
    Raises: `ParamsError` if k exceeds the number of features, `DataError` for frames that cannot be learned from.
    """
    n_inputs, n_outputs = train.inputs.shape[1], train.outputs.shape[1]
    shape = build_shape(form, config, n_inputs=n_inputs, n_outputs=n_outputs, layers=layers)
    trainer = SaeTrainer(SparseAutoencoder(shape), train, config, device)
    if checkpoint is not None and checkpoint.exists():
        _resume(trainer, checkpoint)
    trainer.run(checkpoint)
    return Trained(trainer.finish(), trainer.curve_frame(), trainer.dead_tokens)


def evaluate_sae(trained: Trained, train: Frames, held_out: Frames, config: SaeConfig, device: torch.device) -> Fitted:
    """Score a model on held-out frames; the frames it was trained on give the mean, the thresholds, and who is dead."""
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
    """Go on from a checkpoint of the same training; another one's is left, and written over in time."""
    try:
        trainer.load(checkpoint)
        log.info("resumed from %s at step %d", checkpoint, trainer.step)
    except DataError as error:
        log.warning("started again: %s", error)
