"""What stage `depth` reads: a codec's tokens and codebooks, and the tasks posed on them; and the tasks by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from phonoscope import paths
from phonoscope.errors import ParamsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.config.probes import ProbeConfig
    from phonoscope.data import Manifest
    from phonoscope.probes import LabelledFrames, Task
    from phonoscope.probes.pose import Posed


class PosedCodec(NamedTuple):
    """One codec, ready to be probed."""

    manifest: Manifest
    frames: LabelledFrames
    posed: list[Posed]
    sample: NDArray[np.bool_]
    """Which utterances are probed, [utterances]."""
    codebooks: tuple[NDArray[np.float32], ...]
    """The rows that `ProbeConfig.vectors` asks for, one [K, D] a layer."""


def pose_codec(codec: str, config: ProbeConfig, section: str) -> PosedCodec:
    """Read one codec's tokens and labels, and pose the tasks of a section of the parameters."""
    from phonoscope.data import Codebooks, Labels, Manifest, Split, Tokens
    from phonoscope.probes import pose, read_frames
    from phonoscope.probes.pose import sample_utterances

    tasks = known_tasks(config, section)
    manifest, split = Manifest.load(paths.MANIFEST), Split.load(paths.SPLIT)
    books, labels = Codebooks.load(paths.codebooks(codec)), Labels.load(paths.ALIGNMENTS)
    frames = read_frames(Tokens.load(paths.tokens(codec)), labels, manifest, tasks)
    posed, sample = pose(frames, manifest, split, config), sample_utterances(manifest, split, config)
    return PosedCodec(manifest, frames, posed, sample, books.vectors if config.vectors == "sum" else books.raw)


def known_tasks(config: ProbeConfig, section: str) -> list[Task]:
    """The tasks of a section of the parameters. Raises `ParamsError` naming the key and the nearest task."""
    from phonoscope.probes.tasks import find_classifications, find_tasks

    tasks: dict[str, Task] = {}
    for key, find in (("tasks", find_tasks), ("information", find_classifications)):
        try:
            tasks |= {task.name: task for task in find(getattr(config, key))}
        except ParamsError as error:
            raise ParamsError(f"{section}.{key}: {error}") from error
    return list(tasks.values())
