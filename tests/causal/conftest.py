from __future__ import annotations

from ..whisper.conftest import checkpoint, tiny

__all__ = ["checkpoint", "tiny"]
