"""What a speech synthesizer said, phone by phone."""

from typing import NamedTuple


class PhoneEvent(NamedTuple):
    """One phone or pause as espeak-ng spoke it."""

    start_s: float
    end_s: float
    symbol: str  # espeak-ng's own mnemonic, such as `aI` or `A@`, with its stress marks (`'aI`); pauses begin with `_`
    word_index: int
    """Index into `text.split()`; -1 for pauses. Of words spoken as one (`of the`) only the first is named."""
