"""Sites in a loaded Whisper: the modules where activations are read and changed, by hooks, and their normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from phonoscope.config.sites import STACK, Site
from phonoscope.errors import ParamsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from phonoscope.config.whisper import Normalize
    from phonoscope.whisper.model import Whisper

Patch = Callable[["Tensor"], "Tensor"]
"""Maps activations [batch, positions, width] at a point to the ones that replace them."""


class Point(NamedTuple):
    """One side of one module of the model."""

    module: nn.Module
    at: Literal["input", "output"]


def site_layers(whisper: Whisper, site: Site) -> tuple[int, ...]:
    """Blocks of a site, from 1; several for `encoder_all` alone. Raises `ParamsError` if the model lacks the site."""
    config = whisper.model.config
    if site.layer is None:
        return tuple(range(1, config.encoder_layers + 1))
    if site.layer > (config.decoder_layers if site.is_decoder else config.encoder_layers):
        raise ParamsError(
            f"site {site.name!r}: {whisper.model_id} has encoder_0 to encoder_{config.encoder_layers}, mlp_1 and "
            f"attention_1 to {config.encoder_layers}, {STACK}, decoder_0 to decoder_{config.decoder_layers}"
        )
    return (site.layer,)


def inputs(whisper: Whisper, site: Site) -> list[Point]:
    """Points whose activations a dictionary at this site encodes: for an MLP its input."""
    if site.kind == "mlp":
        (layer,) = site_layers(whisper, site)
        return [Point(whisper.model.model.encoder.layers[layer - 1].fc1, "input")]
    return outputs(whisper, site)


def outputs(whisper: Whisper, site: Site) -> list[Point]:
    """Points whose activations a dictionary at this site reconstructs."""
    model, layers = whisper.model.model, site_layers(whisper, site)
    blocks = model.decoder.layers if site.is_decoder else model.encoder.layers
    if site.kind in ("mlp", "attention"):
        block = blocks[layers[0] - 1]
        # fc2 is the MLP's last module, so its output is what the MLP adds to the stream
        return [Point(block.fc2 if site.kind == "mlp" else block.self_attn, "output")]
    return [Point(blocks[n - 1], "output") if n else Point(blocks[0], "input") for n in layers]


@contextmanager
def capture(points: Iterable[Point]) -> Iterator[dict[Point, Tensor]]:
    """Yield a dictionary to which a forward adds each point's activations, [batch, positions, width]."""
    taken: dict[Point, Tensor] = {}

    def keep(point: Point, states: Tensor) -> Tensor:
        taken[point] = states.detach().clone()  # a later hook or module may change the states in place
        return states

    with patched({point: partial(keep, point) for point in points}):
        yield taken


@contextmanager
def patched(patches: Mapping[Point, Patch]) -> Iterator[None]:
    """Within the context every forward continues with the patched activations at each point."""
    with ExitStack() as stack:
        for (module, at), patch in patches.items():
            if at == "input":
                handle = module.register_forward_pre_hook(partial(_before, patch))
            else:
                handle = module.register_forward_hook(partial(_after, patch))
            stack.callback(handle.remove)
        yield


def _before(patch: Patch, _module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return patch(arguments[0]), *arguments[1:]


def _after(patch: Patch, _module: nn.Module, _arguments: tuple[Any, ...], result: Any) -> Any:
    # attention returns its weights beside its output
    return (patch(result[0]), *result[1:]) if isinstance(result, tuple) else patch(result)


def substitute(values: Tensor, where: Tensor) -> Patch:
    """A patch that puts `values` [n, width] at the n positions that `where` [batch, positions] marks."""

    def patch(states: Tensor) -> Tensor:
        changed = states.clone()
        changed[where] = values.to(changed.dtype)
        return changed

    return patch


class Normaliser:
    """The final layer norm on a site's residual stream, and its inverse; the identity for `none` and other sites."""

    def __init__(self, whisper: Whisper, site: Site, normalize: Normalize) -> None:
        model = whisper.model.model
        side = model.decoder if site.is_decoder else model.encoder
        self._norm = side.layer_norm if normalize == "final" and site.is_residual else None

    def apply(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[..., width] to the normalised states, and the mean and deviation, [...], that were taken out."""
        if self._norm is None:
            ones = states.new_ones(states.shape[:-1])
            return states, ones * 0, ones
        # biased and with eps, as LayerNorm divides; else `undo` would not give the states back
        variance = states.var(dim=-1, unbiased=False)
        return self._norm(states), states.mean(dim=-1), (variance + self._norm.eps).sqrt()

    def undo(self, states: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """The raw states that `apply` would normalise to these."""
        if self._norm is None:
            return states
        return self.unscale(states - self._norm.bias, deviation) + mean[..., None]

    def unscale(self, change: Tensor, deviation: Tensor) -> Tensor:
        """The change of raw states for a change of normalised ones at fixed mean and deviation."""
        return change if self._norm is None else change / self._norm.weight * deviation[..., None]
