"""Sites: the places in Whisper where activations are read and changed, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from phonoscope.errors import ParamsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from phonoscope.whisper.model import Whisper

Kind = Literal["encoder", "decoder", "mlp", "attention"]
STACK = "encoder_all"
_NAME = re.compile(r"(encoder|decoder|mlp|attention)_(\d+)")


@dataclass(frozen=True)
class Site:
    """`encoder_<n>` and `decoder_<n>` are the residual stream after block n (0: the embeddings), `mlp_<n>` and
    `attention_<n>` what these parts of encoder block n add to it, `encoder_all` the stream after every block."""

    name: str
    kind: Kind
    layers: tuple[int, ...]
    """The blocks, from 1; several for `encoder_all` alone."""

    @property
    def is_decoder(self) -> bool:
        return self.kind == "decoder"

    @property
    def is_residual(self) -> bool:
        return self.kind in ("encoder", "decoder")


class Point(NamedTuple):
    """One side of one module of the model."""

    module: nn.Module
    at: Literal["input", "output"]


def find_site(whisper: Whisper, name: str) -> Site:
    """The site of this name. Raises `ParamsError`, naming those that there are, if the model has none."""
    config = whisper.model.config
    blocks = {"decoder": config.decoder_layers}
    if name == STACK:
        return Site(name, "encoder", tuple(range(1, config.encoder_layers + 1)))
    found = _NAME.fullmatch(name)
    if found:
        kind, layer = found[1], int(found[2])
        least = 0 if kind in ("encoder", "decoder") else 1
        if least <= layer <= blocks.get(kind, config.encoder_layers) and name == f"{kind}_{layer}":
            return Site(name, kind, (layer,))  # type: ignore[arg-type]  # the pattern admits no other kind
    raise ParamsError(
        f"site {name!r}: {whisper.model_id} has encoder_0 to encoder_{config.encoder_layers}, mlp_1 and attention_1 to "
        f"{config.encoder_layers}, {STACK}, decoder_0 to decoder_{config.decoder_layers}"
    )


def inputs(whisper: Whisper, site: Site) -> list[Point]:
    """Where the activations are that a dictionary at this site encodes: for an MLP what enters it."""
    if site.kind == "mlp":
        return [Point(whisper.model.model.encoder.layers[site.layers[0] - 1].fc1, "input")]
    return outputs(whisper, site)


def outputs(whisper: Whisper, site: Site) -> list[Point]:
    """Where the activations are that a dictionary at this site reconstructs."""
    model = whisper.model.model
    layers = model.decoder.layers if site.is_decoder else model.encoder.layers
    if site.kind == "mlp":
        return [Point(layers[site.layers[0] - 1].fc2, "output")]
    if site.kind == "attention":
        return [Point(layers[site.layers[0] - 1].self_attn, "output")]
    return [Point(layers[n - 1], "output") if n else Point(layers[0], "input") for n in site.layers]


class Normaliser:
    """The model's final layer norm, applied to a site's residual stream, and its inverse by each token's own mean and
    deviation; the identity for `none` and for what is no residual stream."""

    def __init__(self, whisper: Whisper, site: Site, normalize: Literal["final", "none"]) -> None:
        model = whisper.model.model
        side = model.decoder if site.is_decoder else model.encoder
        self._norm = side.layer_norm if normalize == "final" and site.is_residual else None

    def apply(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[..., width] to the normalised states, and the mean and deviation, [...], that were taken out."""
        if self._norm is None:
            ones = states.new_ones(states.shape[:-1])
            return states, ones * 0, ones
        variance = states.var(dim=-1, unbiased=False)
        return self._norm(states), states.mean(dim=-1), (variance + self._norm.eps).sqrt()

    def undo(self, states: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """The raw states that `apply` would normalise to these."""
        if self._norm is None:
            return states
        return self.unscale(states - self._norm.bias, deviation) + mean[..., None]

    def unscale(self, change: Tensor, deviation: Tensor) -> Tensor:
        """The change of raw states that belongs to a change of normalised ones at fixed mean and deviation."""
        return change if self._norm is None else change / self._norm.weight * deviation[..., None]
