"""What a check finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong, where, and what mends it."""

    path: str
    """The file, or the key."""
    where: Literal["workspace", "cache", "content", "machine"]
    """A file that differs from dvc.lock, a file of DVC's cache, what is inside a file, or the machine."""
    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.mend}"

    def to_dict(self) -> dict[str, str]:
        return asdict(self)
