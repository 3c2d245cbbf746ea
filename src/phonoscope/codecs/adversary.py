"""The optional adversarial loss, with the packages' own discriminators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phonoscope.codecs.dac import DacCodec

if TYPE_CHECKING:
    from phonoscope.codecs.seanet import SeanetCodec


class Adversary(nn.Module):
    """A discriminator with its optimizer; least-squares GAN loss, feature matching (arXiv:2306.06546, section 3.4)."""

    def __init__(self, discriminator: nn.Module, lr: float) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.optimizer = torch.optim.AdamW(discriminator.parameters(), lr=lr, betas=(0.8, 0.99))

    def state(self) -> dict[str, Any]:
        """Weights and optimizer, for an exact resume."""
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _judge(self, audio: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Logits and feature maps of every sub-discriminator for audio [B, T]."""
        found: Any = self.discriminator(audio[:, None])
        if isinstance(found, tuple):  # encodec's multi-scale STFT discriminator: (logits, feature maps)
            return found[0], found[1]
        return [maps[-1] for maps in found], [maps[:-1] for maps in found]  # dac's: lists ending in the logits

    def generator_loss(self, reference: Tensor, estimate: Tensor) -> Tensor:
        """What the codec pays: to be judged real, and to match the feature maps of the reference. [B, T] each."""
        with torch.no_grad():
            _, real_maps = self._judge(reference)
        logits, maps = self._judge(estimate)
        loss = torch.stack([(1 - logit).square().mean() for logit in logits]).mean()
        matching = [
            F.l1_loss(a, b)
            for ours, theirs in zip(maps, real_maps, strict=True)
            for a, b in zip(ours, theirs, strict=True)
        ]
        return loss + 2 * torch.stack(matching).mean()

    def update(self, reference: Tensor, estimate: Tensor) -> Tensor:
        """One step of the discriminator; returns its loss."""
        real, _ = self._judge(reference)
        fake, _ = self._judge(estimate)
        loss = torch.stack(
            [(1 - r).square().mean() + f.square().mean() for r, f in zip(real, fake, strict=True)]
        ).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def build_adversary(codec: SeanetCodec | DacCodec, lr: float) -> Adversary:
    """DAC's discriminator for DAC, EnCodec's multi-scale STFT discriminator for the others."""
    if isinstance(codec, DacCodec):
        from dac.model.discriminator import Discriminator

        return Adversary(Discriminator(sample_rate=codec.sample_rate, fft_sizes=[1024, 512, 256]), lr)
    from encodec.msstftd import MultiScaleSTFTDiscriminator

    return Adversary(
        MultiScaleSTFTDiscriminator(
            filters=16, n_ffts=[1024, 512, 256], hop_lengths=[256, 128, 64], win_lengths=[1024, 512, 256]
        ),
        lr,
    )
