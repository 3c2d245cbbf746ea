"""Training loop of every kind of sparse autoencoder, transcoder and crosscoder."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from phonoscope.compute import derive_seed
from phonoscope.errors import DataError
from phonoscope.files import atomic_file
from phonoscope.sae.dead import auxk_loss, count_idle, resample
from phonoscope.sae.initial import CHUNK, initialise, spread
from phonoscope.sae.losses import Step, losses

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from phonoscope.config.sae import SaeConfig
    from phonoscope.sae.data import Frames
    from phonoscope.sae.models import SparseAutoencoder

log = logging.getLogger(__name__)
BETAS = (0.9, 0.999)
QUIET_END = 0.75  # no feature is resampled after this share of the steps: it could not converge


class SaeTrainer:
    """Trains one model in place. `run` may stop at any step and continue from `save`'s file to the same weights.

    The model is trained on frames scaled to a total variance of 1, and turned back to the data's units by `finish`.
    """

    def __init__(self, model: SparseAutoencoder, frames: Frames, config: SaeConfig, device: torch.device) -> None:
        self.model = model.to(device)
        self.config, self.device = config, device
        self.frames = frames.to(device)
        self.steps = max(1, math.ceil(config.epochs * len(frames) / config.batch_size))
        self.step = 0
        self.idle = torch.zeros(model.shape.d_sae, dtype=torch.long, device=device)
        self.curve: list[dict[str, Any]] = []
        self._sums: dict[str, float] = {}
        self._start()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, betas=BETAS, fused=device.type != "mps")

    def _start(self) -> None:
        x, y = self._take(self.frames.sample(self.config.seed), scaled=False)
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, "initial"))
        self.input_scale, self.output_scale = spread(x), spread(y)
        if not (self.input_scale > 0 and self.output_scale > 0):
            raise DataError("all frames are equal, so there is nothing to learn")
        scaled = x / self.input_scale
        initialise(self.model, scaled, scaled if y is x else y / self.output_scale, generator)

    @property
    def dead_tokens(self) -> int:
        """Frames without firing after which a feature is dead."""
        return max(1, round(self.config.dead_after * len(self.frames)))

    def dead(self) -> Tensor:
        """Dead features: bool [d_sae]."""
        return self.idle >= self.dead_tokens

    def _take(self, places: NDArray[np.int64], *, scaled: bool = True) -> tuple[Tensor, Tensor]:
        x, y = self.frames.take(places, self.device)
        if not scaled:
            return x, y
        scaled_x = x / self.input_scale
        return scaled_x, scaled_x if y is x else y / self.output_scale

    def rate(self, step: int) -> float:
        """The learning rate of a step: a linear rise, a plateau, a linear fall to zero."""
        c = self.config
        rise = min(1.0, (step + 1) / max(1.0, c.warmup * self.steps))
        fall = min(1.0, (self.steps - step) / max(1.0, c.decay * self.steps))
        return c.lr * rise * fall

    def run(self, checkpoint: Path | None = None, until: int | None = None) -> None:
        """Train up to step `until` (default: the end). Raises `DataError` at a loss that is not finite."""
        until = self.steps if until is None else until
        self.model.train()
        bar = tqdm(range(self.step, until), initial=self.step, total=self.steps, disable=None, leave=False)
        for step in bar:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(step)
            self._add(self._train_step(step))
            self.step = step + 1
            self._resample()
            if self.step % self.config.log_every == 0 or self.step == self.steps:
                self._note()
            if checkpoint is not None and (self.step % self.config.checkpoint_every == 0 or self.step == self.steps):
                self.save(checkpoint)

    def _train_step(self, step: int) -> dict[str, float]:
        x, y = self._take(self.frames.batch(step, self.config.batch_size, self.config.seed))
        pattern, values, pre = self.model.select(x)
        losses_: Step = losses(self.model, x, y, pattern, values)
        count_idle(self.idle, losses_.fired, len(x))
        total = losses_.reconstruction + losses_.sparsity
        parts = {"reconstruction": losses_.reconstruction, "sparsity": losses_.sparsity}
        if self.config.dead == "auxk":
            parts["auxk"] = auxk_loss(self.model, x, losses_.error, pre, self.dead(), self.config.aux_k)
            total = total + self.config.aux_weight * parts["auxk"]
        if not bool(torch.isfinite(total)):
            raise DataError(
                f"sparse autoencoder: the loss is {float(total.detach())} at step {step}; lower the learning rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.model.remove_parallel_gradient()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.model.normalise()
        parts |= {"l0": losses_.l0, "gradient": norm}
        return {name: float(value.detach()) for name, value in parts.items()} | {"lr": self.rate(step)}

    def _resample(self) -> None:
        every = max(1, round(self.config.resample_every * len(self.frames) / self.config.batch_size))
        if self.config.dead != "resample" or self.step % every or self.step > QUIET_END * self.steps:
            return
        seed = derive_seed(self.config.seed, "resample", self.step)
        generator, dead = torch.Generator().manual_seed(seed), self.dead()
        revived = resample(self.model, self.optimizer, *self._take(self.frames.sample(seed)), dead, generator)
        self.idle[dead] = 0
        log.info("step %d: %d dead features resampled", self.step, revived)

    def _add(self, parts: dict[str, float]) -> None:
        for part, value in {**parts, "steps": 1.0}.items():
            self._sums[part] = self._sums.get(part, 0.0) + value

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

    def curve_frame(self) -> pd.DataFrame:
        """Training curve: every `log_every` steps the losses apart, L0, dead share, learning rate and gradient."""
        import pandas as pd

        return pd.DataFrame(self.curve)

    def save(self, path: Path) -> None:
        """Write a checkpoint that `load` resumes from to the same weights."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "idle": self.idle,
            "identity": self._identity(),
            "progress": {"step": self.step, "curve": self.curve, "sums": self._sums},
        }
        with atomic_file(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Resume from a checkpoint of `save`. Raises `DataError` if it is unreadable, or of another training."""
        try:
            state = torch.load(path, weights_only=True, map_location=self.device)
            if state["identity"] != self._identity():
                raise ValueError("made with other parameters or features")
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.idle = state["idle"]
            progress = state["progress"]
            self.step, self.curve, self._sums = progress["step"], progress["curve"], progress["sums"]
        except (OSError, EOFError, RuntimeError, KeyError, ValueError, UnpicklingError) as error:
            raise DataError(f"{path}: no checkpoint of this training ({error}); delete it to start again") from error

    def _identity(self) -> dict[str, Any]:
        """Identity of a training: a checkpoint with another one is refused."""
        config = self.config.model_dump(mode="json", exclude={"sites", "checkpoint_every"})
        return {
            "config": config,
            "shape": self.model.shape.model_dump(mode="json"),
            "frames": self.frames.fingerprint(),
        }
