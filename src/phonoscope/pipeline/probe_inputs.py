"""The tasks of a section of the parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope.errors import ParamsError

if TYPE_CHECKING:
    from phonoscope.config.probes import ProbeConfig
    from phonoscope.probes import Task


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
