"""Codec training: a warm-up without the quantizer, a data-driven start of the codebooks, then both together."""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from phonoscope.codecs.base import device_of
from phonoscope.codecs.losses import N_MELS, distillation_loss, log_mel, multi_scale_stft_loss, waveform_loss
from phonoscope.codecs.start import latents_of, scale_encoder, start_codebooks
from phonoscope.compute import derive_seed
from phonoscope.errors import DataError
from phonoscope.files import atomic_file
from phonoscope.stats import perplexity

if TYPE_CHECKING:
    from phonoscope.codecs.base import TrainableCodec
    from phonoscope.codecs.clips import Clips
    from phonoscope.codecs.rvq import Quantized
    from phonoscope.config.codecs import CodecConfig, TrainingConfig

log = logging.getLogger(__name__)
CURVE_COLUMNS = ["step", "phase", "part", "layer", "value"]
RAMP_STEPS = 100  # first steps of a phase, over which the learning rate rises


class CodecTrainer:
    """Trains one codec in place. `run` may stop at any step and resume from `save`'s file to the same weights."""

    def __init__(self, codec: TrainableCodec, config: TrainingConfig, *, distill: bool = False) -> None:
        self.codec, self.config, self.distill = codec, config, distill
        self.quantizer = codec.quantizer_trainer(config.decay, config.dead_usage)
        dimension = codec.codebooks().vectors[0].shape[1]
        self.mel_head = nn.Conv1d(dimension, N_MELS, 1).to(device_of(codec))
        self.optimizer = torch.optim.AdamW(
            [*codec.model.parameters(), *self.mel_head.parameters()], lr=config.lr, betas=(0.8, 0.99), weight_decay=0.0
        )
        self.step = 0
        self.curve: list[tuple[int, str, str, int, float]] = []
        self._clear()

    def _clear(self) -> None:
        """Sums since the last rows of the curve: steps, losses, and the use of every code [L, K]."""
        self._steps = 0
        self._sums: dict[str, float] = {}
        self._counts = torch.zeros(self.codec.n_layers, self.codec.codebook_size)

    def start_quantizer(self, clips: Clips) -> None:
        """Set the codebooks from latents of the clips that the next steps would see."""
        latents = latents_of(self.codec, clips, self.step)
        with torch.no_grad():
            self.quantizer.start(latents, derive_seed(self.config.seed, "kmeans"))

    def curve_frame(self) -> pd.DataFrame:
        """The training curve, tidy: step, phase, part, layer (0 where it has none), value."""
        return pd.DataFrame(self.curve, columns=CURVE_COLUMNS)

    def train(self, clips: Clips) -> None:
        """Train a model from scratch, all phases."""
        first, steps, lr = self.config.warmup_steps, self.config.quantizer_steps, self.config.lr
        scale_encoder(self.codec, clips)
        self.run(clips, 0, first, lr, quantized=False)
        self.start_quantizer(clips)
        self.run(clips, first, steps, lr, quantized=True)

    def run(
        self, clips: Clips, first: int, steps: int, lr: float, *, quantized: bool, until: int | None = None
    ) -> None:
        """Train one phase, which spans `steps` steps from step `first`, up to step `until` (default: its end).

        Without `quantized`, encoder and decoder alone are trained. Raises `DataError` naming step and part at a NaN.
        """
        phase = "quantized" if quantized else "warm-up"
        until = first + steps if until is None else until
        self.codec.model.train()
        bar = tqdm(range(self.step, until), desc=phase, initial=self.step - first, total=steps, disable=None)
        for step in bar:
            done = (step - first) / steps
            for group in self.optimizer.param_groups:
                rate = lr * (0.1 + 0.45 * (1 + np.cos(np.pi * done))) * min(1.0, (step - first + 1) / RAMP_STEPS)
                group["lr"] = float(rate)  # a NumPy scalar would make the checkpoint unreadable without pickle
            for part, value in self._train_step(clips, step, quantized=quantized).items():
                self._sums[part] = self._sums.get(part, 0.0) + value
            self.step, self._steps = step + 1, self._steps + 1
            if self.step % self.config.log_every == 0 or self.step == first + steps:
                self._note(phase)
        self.codec.model.eval()

    def _train_step(self, clips: Clips, step: int, *, quantized: bool) -> dict[str, float]:
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, "step", step))
        audio, teacher = clips.draw(step)
        audio = audio.to(device_of(self.codec))
        latent = self.codec.latent(audio[:, None])
        result = self.quantizer(latent, self._layers_to_keep(audio, generator), generator) if quantized else None
        decoded = self.codec.decode_latent(latent if result is None else result.quantized)[:, 0]
        length = min(decoded.shape[1], audio.shape[1])
        losses = self._losses(audio[:, :length], decoded[:, :length], latent, result, teacher)
        total = torch.stack(list(losses.values())).sum()
        _check(losses, step)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.codec.model.parameters(), self.config.grad_clip)
        _check({"gradient": norm}, step)
        self.optimizer.step()
        if result is not None:
            for counts, codes in zip(self._counts, result.codes.cpu().transpose(0, 1), strict=True):
                counts += torch.bincount(codes.reshape(-1), minlength=len(counts))
        return {name: float(value.detach()) for name, value in losses.items()}

    def _layers_to_keep(self, audio: Tensor, generator: torch.Generator) -> Tensor:
        """Quantizer dropout, [B]: some clips are decoded from their first layers only, so that these decode too."""
        clips, layers = len(audio), self.codec.n_layers
        keep = torch.randint(1, layers + 1, (clips,), generator=generator)
        whole = torch.rand(clips, generator=generator) >= self.config.quantizer_dropout
        return torch.where(whole, layers, keep).to(audio.device)

    def _losses(
        self, audio: Tensor, decoded: Tensor, latent: Tensor, result: Quantized | None, teacher: Tensor | None
    ) -> dict[str, Tensor]:
        c = self.config
        mel = log_mel(audio, self.codec.sample_rate, self.codec.hop_length)
        frames = min(mel.shape[2], latent.shape[2])
        losses = {
            "stft": c.stft_weight * multi_scale_stft_loss(audio, decoded),
            "waveform": c.waveform_weight * waveform_loss(audio, decoded),
            "latent_mel": c.latent_mel_weight * (self.mel_head(latent)[..., :frames] - mel[..., :frames]).abs().mean(),
        }
        if result is not None:
            losses["commitment"] = c.commitment_weight * result.commitment
            if result.codebook is not None:
                losses["codebook"] = result.codebook
            if self.distill and teacher is not None:
                projected = self.codec.model.transform(result.first.transpose(1, 2))  # type: ignore[operator]
                losses["distillation"] = c.distill_weight * distillation_loss(projected, teacher.to(audio.device))
        return losses

    def _note(self, phase: str) -> None:
        """Add rows of means over the steps since the last ones to the curve."""
        rows: list[tuple[str, int, float]] = [(part, 0, value / self._steps) for part, value in self._sums.items()]
        for index, counts in enumerate(self._counts if self._counts.any() else (), start=1):
            rows.append(("perplexity", index, float(perplexity(counts.double().numpy()))))
            rows.append(("used_codes", index, float((counts > 0).sum())))
        self.curve += [(self.step, phase, *row) for row in rows]
        shown = "  ".join(f"{p}{n or ''} {v:.3g}" for p, n, v in rows if p != "used_codes")
        log.info("%s step %d: %s", phase, self.step, shown)
        self._clear()

    def save(self, path: Path) -> None:
        """Write a checkpoint that `load` resumes from to the same weights."""
        parts: dict[str, Any] = {"model": self.codec.model, "mel_head": self.mel_head, "optimizer": self.optimizer}
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"quantizer": self.quantizer.state(), "config": self.config.model_dump()}
        state |= {"step": self.step, "curve": self.curve}
        state |= {"steps": self._steps, "sums": self._sums, "counts": self._counts}
        with atomic_file(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Resume from a checkpoint of `save`. Raises `DataError` if it is not one, or has other training parameters."""
        ours = self.config.model_dump()
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            other = [key for key, value in state["config"].items() if ours[key] != value]
            if other:
                raise ValueError(f"made with another training.{', training.'.join(other)}")
            self.codec.model.load_state_dict(state["model"])
            self.mel_head.load_state_dict(state["mel_head"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.quantizer.load_state(state["quantizer"])
            self.step, self.curve = state["step"], state["curve"]
            self._steps, self._sums, self._counts = state["steps"], state["sums"], state["counts"]
        except (OSError, EOFError, RuntimeError, KeyError, ValueError, UnpicklingError) as error:
            raise DataError(f"{path}: not a training checkpoint of this codec ({error}); delete it") from error


def _check(losses: dict[str, Tensor], step: int) -> None:
    for part, value in losses.items():
        if not torch.isfinite(value):
            raise DataError(f"the {part} part is {float(value)} at step {step}; lower the learning rate")


def train_codec(
    codec: Any, config: CodecConfig, training: TrainingConfig, clips: Clips | None, adapt_steps: int = 0
) -> pd.DataFrame:
    """Train, adapt or start a codec in place, as its section asks; returns the training curve, empty if it only loads.

    clips: needed unless the codec is only loaded. Raises `DataError` if the teacher's features do not fit the codec.
    """
    curve: list[tuple[int, str, str, int, float]] = []
    if clips is not None and config.untrained:
        scale_encoder(codec, clips)
        start_codebooks(codec, latents_of(codec, clips), derive_seed(clips.seed, "kmeans"))
    elif clips is not None:
        if clips.teacher:
            given, width = clips.teacher[0].shape[1], codec.architecture()["semantic_dimension"]
            if given != width:
                raise DataError(f"the teacher has {given} dimensions, the codec {width}; take another or do not distil")
        if config.checkpoint == "scratch":
            trainer = CodecTrainer(codec, training, distill=config.distill)
            trainer.train(clips)
            curve += trainer.curve
        if adapt_steps:
            # the mel head, which leads a new model out of silence, would only disturb a trained one
            adapting = training.model_copy(update={"latent_mel_weight": 0.0})
            trainer = CodecTrainer(codec, adapting, distill=config.distill)
            trainer.run(clips, 0, adapt_steps, training.adapt_lr, quantized=True)
            curve += trainer.curve
    return pd.DataFrame(curve, columns=CURVE_COLUMNS)
