"""Reading and changing activations at points of the model, by forward hooks that are always removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from phonoscope.whisper.sites import Point

Patch = Callable[["Tensor"], "Tensor"]
"""Maps activations [batch, positions, width] at a point to the ones that replace them."""


@contextmanager
def capture(points: Sequence[Point]) -> Iterator[list[list[Tensor]]]:
    """Yield a list per point, to which every forward adds the point's activations, [batch, positions, width]."""
    taken: list[list[Tensor]] = [[] for _ in points]

    def keep(where: list[Tensor]) -> Patch:
        def look(states: Tensor) -> Tensor:
            where.append(states.detach().clone())
            return states

        return look

    with ExitStack() as stack:
        for point, where in zip(points, taken, strict=True):
            stack.enter_context(_hooked(point, keep(where)))
        yield taken


@contextmanager
def patched(patches: Mapping[Point, Patch]) -> Iterator[None]:
    """Within the context every forward continues with the patched activations at each point."""
    with ExitStack() as stack:
        for point, patch in patches.items():
            stack.enter_context(_hooked(point, patch))
        yield


@contextmanager
def _hooked(point: Point, patch: Patch) -> Iterator[None]:
    def before(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return patch(arguments[0]), *arguments[1:]

    def after(_module: nn.Module, _arguments: tuple[Any, ...], result: Any) -> Any:
        # attention returns its weights beside its output
        return (patch(result[0]), *result[1:]) if isinstance(result, tuple) else patch(result)

    module = point.module
    handle = module.register_forward_pre_hook(before) if point.at == "input" else module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def substitute(values: Tensor, where: Tensor) -> Patch:
    """A patch that puts `values` [n, width] at the n positions that `where` [batch, positions] marks."""

    def patch(states: Tensor) -> Tensor:
        changed = states.clone()
        changed[where] = values.to(changed.dtype)
        return changed

    return patch


def add(values: Tensor, where: Tensor) -> Patch:
    """A patch that adds `values` [n, width], or one [width] for all, at the positions that `where` marks."""

    def patch(states: Tensor) -> Tensor:
        changed = states.clone()
        changed[where] += values.to(changed.dtype)
        return changed

    return patch
