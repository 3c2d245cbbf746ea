"""The finding of a check."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong, where, and how to fix it."""

    path: str
    """The file, or the key."""
    where: Literal["workspace", "cache", "content", "machine"]
    """A file that differs from dvc.lock, a file of DVC's cache, the content of a file, or the machine."""
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.fix}"

    def to_dict(self) -> dict[str, str]:
        """JSON-able."""
        return asdict(self)
