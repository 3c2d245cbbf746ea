"""Training a codec: a warm-up without quantizer, a data-driven start of the codebooks, then all of it together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from phonoscope.codecs.adversary import Adversary, build_adversary
from phonoscope.codecs.dac import DacCodec
from phonoscope.codecs.initialise import initialise_from_data
from phonoscope.codecs.losses import N_MELS, distillation_loss, log_mel, multi_scale_stft_loss, waveform_loss
from phonoscope.codecs.rvq import DacRvqTrainer, EmaRvqTrainer, Quantized, QuantizerTrainer
from phonoscope.compute import derive_seed
from phonoscope.errors import DataError
from phonoscope.files import atomic_file

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from phonoscope.codecs.seanet import SeanetCodec
    from phonoscope.config.codecs import TrainingConfig

log = logging.getLogger(__name__)
START_VECTORS = 24_000  # latents that the k-means start sees
ELU_DEVIATION, SNAKE_DEVIATION = 1.0, 0.3  # of every layer at the start; beyond 0.3 Snake folds its input over
INITIAL_BATCHES = 4  # that the data-dependent start sees
GAIN_DB = 12.0  # clips are attenuated by up to this much
CURVE_COLUMNS = ("step", "phase", "part", "layer", "value")
RAMP_STEPS = 100  # the learning rate rises over these first steps of a phase


@dataclass
class Clips:
    """Clips drawn from utterances. The clip of a step depends on seed and step only, so training resumes exactly.

    waveforms: [T] each, at the codec's sample rate. teacher: [F, D'] each, at the codec's frame rate.
    """

    waveforms: Sequence[NDArray[np.float32]]
    hop_length: int
    clip_frames: int
    batch_size: int
    seed: int
    teacher: Sequence[Tensor] | None = None
    _weights: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.waveforms:
            raise DataError("no utterance to train the codec on; is the train split empty?")
        lengths = np.array([len(w) for w in self.waveforms], dtype=np.float64)
        self._weights = lengths / lengths.sum()

    def draw(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Audio [B, T] and, with a teacher, its features [B, F, D'] for one step. Short utterances are zero-padded."""
        rng = np.random.default_rng(derive_seed(self.seed, "clip", step))
        chosen = rng.choice(len(self.waveforms), size=self.batch_size, p=self._weights)
        audio = torch.zeros(self.batch_size, self.clip_frames * self.hop_length)
        features = None
        if self.teacher is not None:
            features = torch.zeros(self.batch_size, self.clip_frames, self.teacher[0].shape[1])
        for row, index in enumerate(chosen):
            waveform = self.waveforms[index]
            start = int(rng.integers(max(len(waveform) // self.hop_length - self.clip_frames, 0) + 1))
            clip = waveform[start * self.hop_length :][: audio.shape[1]]
            gain = 10 ** (-rng.uniform(0, GAIN_DB) / 20)
            audio[row, : len(clip)] = torch.from_numpy(clip) * gain
            if features is not None and self.teacher is not None:
                frames = self.teacher[index][start : start + self.clip_frames]
                features[row, : len(frames)] = frames
        return audio, features


class CodecTrainer:
    """Trains one codec in place. `run` may stop at any step and resume from `save`'s file to the same weights."""

    def __init__(self, codec: SeanetCodec | DacCodec, config: TrainingConfig, *, distill: bool = False) -> None:
        self.codec = codec
        self.config = config
        trainer = DacRvqTrainer if isinstance(codec, DacCodec) else EmaRvqTrainer
        self.quantizer: QuantizerTrainer = trainer(codec.rvq_layers(), config.decay, config.dead_usage)
        device = next(codec.model.parameters()).device
        dimension = codec.codebooks().vectors[0].shape[1]
        self.mel_head = nn.Conv1d(dimension, N_MELS, 1).to(device)
        self.distill = distill
        self.adversary: Adversary | None = None
        if config.adversarial_weight:
            self.adversary = build_adversary(codec, config.lr).to(device)
        self.optimizer = torch.optim.AdamW(
            [*codec.model.parameters(), *self.mel_head.parameters()], lr=config.lr, betas=(0.8, 0.99), weight_decay=0.0
        )
        self.step = 0
        self.curve: list[dict[str, Any]] = []
        self._steps = 0
        self._sums: dict[str, float] = {}
        self._counts: Tensor | None = None

    def initialise(self, clips: Clips) -> None:
        """Scale the encoder of a model from scratch by the data, before its first step."""
        audio = torch.cat([clips.draw(step)[0] for step in range(INITIAL_BATCHES)])
        deviation = SNAKE_DEVIATION if isinstance(self.codec, DacCodec) else ELU_DEVIATION
        initialise_from_data(self.codec.model.encoder, self._on_device(audio)[:, None], deviation)  # type: ignore[arg-type]

    def start_quantizer(self, clips: Clips) -> None:
        """Set the codebooks from latents of the clips that the next steps would see."""
        self.codec.model.eval()
        per_clip = clips.clip_frames * clips.batch_size
        found = []
        with torch.no_grad():
            for index in range(max(1, START_VECTORS // per_clip)):
                audio, _ = clips.draw(self.step + index)
                found.append(self.codec.latent(self._on_device(audio)[:, None]).transpose(1, 2).flatten(0, 1))
            self.quantizer.start(torch.cat(found), derive_seed(self.config.seed, "kmeans"))

    def curve_frame(self) -> pd.DataFrame:
        """The training curve, tidy: step, phase, part, layer (0 where it has none), value."""
        import pandas as pd

        return pd.DataFrame(self.curve, columns=list(CURVE_COLUMNS))

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(next(self.codec.model.parameters()).device)

    def start(self, clips: Clips) -> None:
        """Start from the data alone, without a gradient step: what a codec of this class is before it learns."""
        self.initialise(clips)
        self.start_quantizer(clips)

    def train(self, clips: Clips) -> None:
        """Train a model from scratch, all phases."""
        c = self.config
        self.initialise(clips)
        self.run(clips, 0, c.warmup_steps, c.lr, quantized=False)
        self.start_quantizer(clips)
        self.run(clips, c.warmup_steps, c.quantizer_steps, c.lr, quantized=True)

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
            self._add(self._train_step(clips, step, quantized=quantized))
            self.step = step + 1
            if self.step % self.config.log_every == 0 or self.step == first + steps:
                self._note(phase)
        self.codec.model.eval()

    def _train_step(self, clips: Clips, step: int, *, quantized: bool) -> dict[str, float]:
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, "step", step))
        audio, teacher = clips.draw(step)
        audio = self._on_device(audio)
        latent = self.codec.latent(audio[:, None])
        result = self.quantizer(latent, self._layers_to_keep(len(audio), generator), generator) if quantized else None
        decoded = self.codec.decode_latent(latent if result is None else result.quantized)[:, 0]
        length = min(decoded.shape[1], audio.shape[1])
        audio, decoded = audio[:, :length], decoded[:, :length]
        losses = self._losses(audio, decoded, latent, result, teacher)
        total = torch.stack(list(losses.values())).sum()
        self._check(losses, step)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.codec.model.parameters(), self.config.grad_clip)
        self._check({"gradient": norm}, step)
        self.optimizer.step()
        if self.adversary is not None and result is not None:
            losses["discriminator"] = self.adversary.update(audio, decoded.detach())
        if result is not None:
            self._count(result.codes)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _layers_to_keep(self, clips: int, generator: torch.Generator) -> Tensor:
        layers = self.codec.n_layers
        keep = torch.randint(1, layers + 1, (clips,), generator=generator)
        whole = torch.rand(clips, generator=generator) >= self.config.quantizer_dropout
        return self._on_device(torch.where(whole, layers, keep))

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
            if isinstance(self.quantizer, DacRvqTrainer):
                losses["codebook"] = result.codebook
            if self.distill and teacher is not None:
                projected = self.codec.model.transform(result.first.transpose(1, 2))  # type: ignore[operator]
                losses["distillation"] = c.distill_weight * distillation_loss(projected, self._on_device(teacher))
            if self.adversary is not None:
                losses["adversarial"] = c.adversarial_weight * self.adversary.generator_loss(audio, decoded)
        return losses

    def _check(self, losses: dict[str, Tensor], step: int) -> None:
        for part, value in losses.items():
            if not torch.isfinite(value):
                raise DataError(
                    f"codec training: the {part} part is {float(value)} at step {step}; "
                    "lower training.lr, or check the audio"
                )

    def _count(self, codes: Tensor) -> None:
        layers, size = codes.shape[1], self.codec.codebook_size
        if self._counts is None:
            self._counts = torch.zeros(layers, size)
        for index in range(layers):
            self._counts[index] += torch.bincount(codes[:, index].reshape(-1).cpu(), minlength=size)

    def _add(self, parts: dict[str, float]) -> None:
        self._steps += 1
        for part, value in parts.items():
            self._sums[part] = self._sums.get(part, 0.0) + value

    def _note(self, phase: str) -> None:
        """Add a row of means over the steps since the last one to the curve."""
        rows: list[tuple[str, int, float]] = [(part, 0, value / self._steps) for part, value in self._sums.items()]
        if self._counts is not None:
            for index, counts in enumerate(self._counts, start=1):
                rows.append(("perplexity", index, perplexity(counts)))
                rows.append(("used_codes", index, float((counts > 0).sum())))
        self.curve += [{"step": self.step, "phase": phase, "part": p, "layer": n, "value": v} for p, n, v in rows]
        shown = "  ".join(f"{p}{n or ''} {v:.3g}" for p, n, v in rows if p != "used_codes")
        log.info("%s step %d: %s", phase, self.step, shown)
        self._sums, self._counts, self._steps = {}, None, 0

    def save(self, path: Path) -> None:
        """Write a checkpoint that `load` resumes from to the same weights."""
        state = {
            "model": self.codec.model.state_dict(),
            "mel_head": self.mel_head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "quantizer": self.quantizer.state(),
            "adversary": self.adversary.state() if self.adversary else {},
            "config": self.config.model_dump(),
            "step": self.step,
            "curve": self.curve,
            "steps": self._steps,
            "sums": self._sums,
            "counts": self._counts,
        }
        with atomic_file(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Take up a checkpoint that `save` wrote. Raises `DataError` if it is none, or of other training parameters."""
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            self._take(state)
        except (OSError, EOFError, RuntimeError, KeyError, ValueError, UnpicklingError) as error:
            raise DataError(
                f"{path}: not a training checkpoint of this codec ({error}); delete it to start again"
            ) from error

    def _take(self, state: dict[str, Any]) -> None:
        ours = self.config.model_dump()
        other = [key for key, value in state["config"].items() if ours[key] != value]
        if other:
            raise ValueError(f"made with another training.{', training.'.join(other)}")
        self.codec.model.load_state_dict(state["model"])
        self.mel_head.load_state_dict(state["mel_head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.quantizer.load_state(state["quantizer"])
        if self.adversary is not None:
            self.adversary.load_state(state["adversary"])
        self.step, self.curve = state["step"], state["curve"]
        self._steps, self._sums, self._counts = state["steps"], state["sums"], state["counts"]


def perplexity(counts: Tensor) -> float:
    """exp of the entropy of the code distribution that these counts [K] give."""
    p = counts.double() / counts.sum().clamp(min=1)
    return float(torch.exp(-torch.xlogy(p, p).sum()))
