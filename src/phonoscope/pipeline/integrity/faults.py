"""One fault of an artifact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, order=True)
class Fault:
    """One fault: its place, its reason, and how to fix it."""

    path: str
    where: Literal["workspace", "cache", "content", "machine"]
    """Workspace: differs from dvc.lock; cache: a file of DVC's cache; content: bad content; machine: not a file."""
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.fix}"
