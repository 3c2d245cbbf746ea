"""Losses and training loop of every kind of sparse autoencoder, transcoder and crosscoder."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from phonoscope.compute import derive_seed
from phonoscope.config.sae import SaeConfig
from phonoscope.errors import DataError
from phonoscope.files import atomic_file
from phonoscope.sae.data import Frames
from phonoscope.sae.dead import auxk_loss, resample
from phonoscope.sae.initial import CHUNK, initialise, spread
from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.sparse import Pattern, decode

log = logging.getLogger(__name__)
QUIET_END = 0.75  # no feature is resampled after this share of the steps: it could not converge


class Step(NamedTuple):
    reconstruction: Tensor  # squared error of a frame, the data's total variance being 1; nested: mean over groups
    sparsity: Tensor  # weighted penalty; 0 where the activation itself bounds the number of features
    error: Tensor  # output minus reconstruction by all features, [n, d_out]
    fired: Tensor  # active features, one entry an activation
    l0: Tensor  # active features a frame


def losses(model: SparseAutoencoder, x: Tensor, y: Tensor, pattern: Pattern, values: Tensor) -> Step:
    """Losses of a batch x [n, d_in], y [n, d_out], given its selected pre-activations `values` [entries]."""
    n = len(x)
    activations, sparsity = model.kind.activate(model, pattern, values)
    errors = _errors(model, x, y, pattern, activations)
    reconstruction = torch.stack([error.pow(2).sum() / n for error in errors]).mean()
    # JumpReLU's pattern has entries just below the threshold, which are not active
    fired = pattern.columns[activations.detach() > 0]
    return Step(reconstruction, sparsity, errors[-1], fired, y.new_tensor(len(fired) / n))


def _errors(model: SparseAutoencoder, x: Tensor, y: Tensor, pattern: Pattern, activations: Tensor) -> list[Tensor]:
    """y minus the reconstruction by each prefix of the features."""
    rest = y - model.b_dec - model.bypass(x)
    errors, start = [], 0
    # a group is subtracted from what the smaller ones left: every feature is decoded once, however many groups hold it
    for end in model.kind.prefixes(model.shape.d_sae):
        inside = (pattern.columns >= start) & (pattern.columns < end)
        if bool(inside.all()):  # one group, the usual case: no copy, and `by_column` is sorted only once
            rest = rest - decode(pattern, activations, model.W_dec)
        else:
            rest = rest - decode(pattern.keep(inside), activations[inside], model.W_dec)
        errors.append(rest)
        start = end
    return errors


class SaeTrainer:
    """Trains one model in place. `run` may stop at any step and continue from its checkpoint to the same weights.

    The model is trained on frames scaled to a total variance of 1, and turned back to the data's units by `finish`.
    """

    def __init__(self, model: SparseAutoencoder, frames: Frames, config: SaeConfig, device: torch.device) -> None:
        self.model, self.frames = model.to(device), frames.to(device)
        self.config, self.device = config, device
        self.steps = max(1, math.ceil(config.epochs * len(frames) / config.batch_size))
        self.dead_tokens = max(1, round(config.dead_after * len(frames)))  # without firing: the feature is dead
        self.step = 0
        self.idle = torch.zeros(model.shape.d_sae, dtype=torch.long, device=device)  # frames since it last fired
        self.curve: list[dict[str, Any]] = []
        self._sums: dict[str, float] = {}
        sample = self.frames.sample(config.seed)
        self.input_scale, self.output_scale = map(spread, self.frames.take(sample, device))
        if not (self.input_scale > 0 and self.output_scale > 0):
            raise DataError("all frames are equal, so there is nothing to learn")
        generator = torch.Generator().manual_seed(derive_seed(config.seed, "initial"))
        initialise(self.model, *self._take(sample), generator)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=device.type != "mps")

    def dead(self) -> Tensor:
        """Dead features: bool [d_sae]."""
        return self.idle >= self.dead_tokens

    def _take(self, places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        x, y = self.frames.take(places, self.device)
        scaled = x / self.input_scale
        return scaled, scaled if y is x else y / self.output_scale

    def rate(self, step: int) -> float:
        """The learning rate of a step: a linear rise, a plateau, a linear fall to zero."""
        c = self.config
        rise = min(1.0, (step + 1) / max(1.0, c.warmup * self.steps))
        fall = min(1.0, (self.steps - step) / max(1.0, c.decay * self.steps))
        return c.lr * rise * fall

    def run(self, checkpoint: Path | None = None) -> None:
        """Train to the end, with a checkpoint from time to time. Raises `DataError` at a loss that is not finite."""
        self.model.train()
        done, steps = self.step, self.steps
        for step in tqdm(range(done, steps), initial=done, total=steps, disable=None, leave=False):
            for name, value in self._train_step(step).items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self.step = step + 1
            self._resample()
            if self.step % self.config.log_every == 0 or self.step == steps:
                self._note()
            if checkpoint is not None and (self.step % self.config.checkpoint_every == 0 or self.step == steps):
                self.save(checkpoint)

    def _train_step(self, step: int) -> dict[str, float]:
        """Losses, L0, gradient and learning rate of a step, and 1 as `steps`."""
        x, y = self._take(self.frames.batch(step, self.config.batch_size, self.config.seed))
        pattern, values, pre = self.model.select(x)
        loss = losses(self.model, x, y, pattern, values)
        self.idle += len(x)
        self.idle[loss.fired] = 0
        total = loss.reconstruction + loss.sparsity
        parts = {"reconstruction": loss.reconstruction, "sparsity": loss.sparsity}
        if self.config.dead == "auxk":
            parts["auxk"] = auxk_loss(self.model, x, loss.error, pre, self.dead(), self.config.aux_k)
            total = total + self.config.aux_weight * parts["auxk"]
        if not bool(torch.isfinite(total)):
            value = float(total.detach())
            raise DataError(f"sparse autoencoder: the loss is {value} at step {step}; lower the learning rate")
        rate = self.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.model.remove_parallel_gradient()  # before the clipping: it is no part of the step
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.model.normalise()  # a step along the tangent still leaves the unit sphere
        parts |= {"l0": loss.l0, "gradient": norm}
        return {name: float(value.detach()) for name, value in parts.items()} | {"lr": rate, "steps": 1.0}

    def _resample(self) -> None:
        every = max(1, round(self.config.resample_every * len(self.frames) / self.config.batch_size))
        if self.config.dead != "resample" or self.step % every or self.step > QUIET_END * self.steps:
            return
        seed = derive_seed(self.config.seed, "resample", self.step)
        generator, dead = torch.Generator().manual_seed(seed), self.dead()
        x, y = self._take(self.frames.sample(seed))
        revived = resample(self.model, self.optimizer, x, self._error(x, y), dead, generator)
        self.idle[dead] = 0
        log.info("step %d: %d dead features resampled", self.step, revived)

    @torch.no_grad()
    def _error(self, x: Tensor, y: Tensor) -> Tensor:
        """Output minus reconstruction by the features that a training step would select, [n, d_out]."""
        # not through inference: its threshold is set when the training ends, and until then it is that of the start
        pattern, values, _ = self.model.select(x)
        return losses(self.model, x, y, pattern, values).error

    def _note(self) -> None:
        """Add a row of means over the steps since the last one to the curve."""
        steps = self._sums.pop("steps")
        means = {part: value / steps for part, value in self._sums.items()}
        means["dead_share"] = float(self.dead().float().mean())
        self.curve.append({"step": self.step, "frames": self.step * self.config.batch_size, **means})
        log.info("step %d of %d: %s", self.step, self.steps, "  ".join(f"{p} {v:.3g}" for p, v in means.items()))
        self._sums = {}

    def finish(self) -> SparseAutoencoder:
        """The trained model in inference form: in the data's units, its threshold estimated on a sample."""
        model = self.model.eval().requires_grad_(False)
        model.rescale(self.input_scale, self.output_scale)
        x, _ = self.frames.take(self.frames.sample(self.config.seed), self.device)
        model.kind.finish(model, x.split(CHUNK))
        return model

    def save(self, path: Path) -> None:
        """Write a checkpoint for `resume`."""
        weights = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "idle": self.idle}
        state = {**weights, "identity": self._identity(), "loop": (self.step, self.curve, self._sums)}
        with atomic_file(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint; one that is unreadable, or of another training, is ignored."""
        try:
            state = torch.load(path, weights_only=True, map_location=self.device)
            if state["identity"] != self._identity():
                raise ValueError("made with other parameters or features")
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.idle, (self.step, self.curve, self._sums) = state["idle"], state["loop"]
            log.info("resumed from %s at step %d", path, self.step)
        except (OSError, EOFError, RuntimeError, KeyError, ValueError, UnpicklingError) as error:
            log.warning("%s: started again, as this is no checkpoint of this training (%s)", path, error)

    def _identity(self) -> dict[str, Any]:
        config = self.config.model_dump(mode="json", exclude={"sites", "seeds", "checkpoint_every"})
        shape = self.model.shape.model_dump(mode="json")
        return {"config": config, "shape": shape, "frames": self.frames.fingerprint()}
