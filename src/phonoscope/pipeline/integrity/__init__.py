"""Whether artifacts are what they were: their hashes, and what is inside them."""

from __future__ import annotations
