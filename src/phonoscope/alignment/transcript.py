"""The words of a transcript."""

from __future__ import annotations

import re

_EDGES = re.compile(r"^\W+|\W+$")


def spoken_words(text: str) -> list[str]:
    """One entry per token of `text.split()`: lower case, without punctuation around it; empty for a lone dash."""
    return [_EDGES.sub("", token.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")) for token in text.split()]
