from __future__ import annotations

from ..whisper.conftest import checkpoint

__all__ = ["checkpoint"]
