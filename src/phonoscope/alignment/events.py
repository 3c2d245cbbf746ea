"""Alignments from the phone events of a synthesizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.alignment.espeak_phones import arpabet
from phonoscope.alignment.intervals import check_intervals, fill_gaps, spoken_words
from phonoscope.config.alignment import Stress
from phonoscope.data.labels import Alignment, Interval
from phonoscope.data.phones import SILENCE, STOPS
from phonoscope.errors import DataError
from phonoscope.events import PhoneEvent

_HOP_S = 0.002
_QUIET = 0.15  # of the phone's loudest hop; a lower share misses closures that a voice's echo fills
_BURST_HOPS = 3  # at the end of a closure the stop's burst may already be heard
_MAX_CLOSURE_S = 0.1
_MIN_PHONE_S = 0.02


class _Spoken(NamedTuple):
    """The phones of one event."""

    start_s: float
    end_s: float
    phones: tuple[str, ...]
    word_index: int


def align_events(
    events: Iterable[PhoneEvent],
    text: str,
    accent: str,
    samples: NDArray[np.float32],
    sample_rate: int,
    stress: Stress = "strip",
) -> Alignment:
    """The words and phones of a synthesized utterance, `samples` of shape [samples]; see docs/alignment.md.

    Words spoken as one (`of the`) share one interval in the words tier.
    Raises: `DataError` for an unknown symbol or accent, or intervals that are reversed, overlap or leave the utterance.
    """
    duration_s = len(samples) / sample_rate
    spoken = _spoken(events, accent, stress)
    if all(event.phones == (SILENCE,) for event in spoken):
        raise DataError("no phone events, or only pauses")
    spoken = _move_closures(_drop_double_r(spoken), samples, sample_rate)
    phones = [interval for event in spoken for interval in _divide(event)]
    return Alignment(
        words=check_intervals(_words(spoken, text), duration_s),
        phones=fill_gaps(check_intervals(phones, duration_s), duration_s),
    )


def _spoken(events: Iterable[PhoneEvent], accent: str, stress: Stress) -> list[_Spoken]:
    spoken: list[_Spoken] = []
    for event in events:
        phones = tuple(arpabet(event.symbol, accent, stress))
        if phones and event.end_s > event.start_s:
            spoken.append(_Spoken(event.start_s, event.end_s, phones, event.word_index))
        elif spoken and phones != (SILENCE,):  # without length: espeak colours the vowel before instead
            before = spoken[-1]
            spoken[-1] = before._replace(end_s=max(before.end_s, event.end_s), phones=before.phones + phones)
    return spoken


def _drop_double_r(spoken: Sequence[_Spoken]) -> list[_Spoken]:
    """A@ r -> AA, R, both within an event and from one event to the next."""
    result: list[_Spoken] = []
    for event, after in zip(spoken, [*spoken[1:], None], strict=True):
        phones = [phone for phone, _ in groupby(event.phones)]
        if len(phones) > 1 and phones[-1] == "R" and after is not None and after.phones[0] == "R":
            phones.pop()
        result.append(event._replace(phones=tuple(phones)))
    return result


def _divide(event: _Spoken) -> list[Interval]:
    # a full vowel gets two parts, a consonant or a schwa one: in single events of AA R, AA lasts 115 ms and R 50
    parts = np.array([2 if phone[0] in "AEIOU" and not phone.startswith("AH") else 1 for phone in event.phones])
    edges = event.start_s + (event.end_s - event.start_s) * np.append(0, np.cumsum(parts)) / parts.sum()
    edges[-1] = event.end_s  # to the bit, or rounding would leave a gap to the next event
    return [Interval(*edge, phone) for edge, phone in zip(pairwise(edges.tolist()), event.phones, strict=True)]


def _move_closures(spoken: Sequence[_Spoken], samples: NDArray[np.float32], sample_rate: int) -> list[_Spoken]:
    # espeak reports a stop at its burst; in dictionaries and aligners the quiet closure before it is the stop's too
    moved = list(spoken)
    for index in range(1, len(moved)):
        before, stop = moved[index - 1], moved[index]
        if stop.phones[0] in STOPS and before.phones != (SILENCE,):
            start = stop.start_s - _closure_s(samples, sample_rate, before.start_s, stop.start_s)
            moved[index - 1], moved[index] = before._replace(end_s=start), stop._replace(start_s=start)
    return moved


def _closure_s(samples: NDArray[np.float32], sample_rate: int, start_s: float, end_s: float) -> float:
    """Length of the quiet end of [start_s, end_s), in seconds; 0 if it does not end quietly."""
    hop, end = round(_HOP_S * sample_rate), round(end_s * sample_rate)
    n_hops = (end - round(start_s * sample_rate)) // hop
    if n_hops <= _BURST_HOPS:
        return 0.0
    # counted backwards from the burst, where the closure ends
    power = np.square(samples[end - n_hops * hop : end].astype(np.float64)).reshape(n_hops, hop).mean(axis=1)[::-1]
    loud = np.flatnonzero(power > _QUIET**2 * power.max())
    # the first loud hop before those that may hold the burst ends the vowel: the closure is what lies between
    onset = loud[loud >= _BURST_HOPS]
    length_s = float(onset[0] if len(onset) else 0) * hop / sample_rate
    if length_s <= _BURST_HOPS * _HOP_S:
        return 0.0
    # a longer silence is a pause, and the phone before keeps enough to be seen in a frame
    return min(length_s, _MAX_CLOSURE_S, max(end_s - start_s - _MIN_PHONE_S, 0.0))


def _words(spoken: Sequence[_Spoken], text: str) -> list[Interval]:
    tokens = spoken_words(text)
    runs = [(key, list(run)) for key, run in groupby((s for s in spoken if s.word_index >= 0), lambda s: s.word_index)]
    if runs and runs[-1][0] >= len(tokens):
        raise DataError(f"phone event of word {runs[-1][0]}, but the text has {len(tokens)} words")
    # words spoken as one are named by their first: a run's label reaches to the next run's word, the first from 0
    bounds = pairwise([0, *(key for key, _ in runs[1:]), len(tokens)])
    return [
        Interval(run[0].start_s, run[-1].end_s, " ".join(filter(None, tokens[first:last])))
        for (_, run), (first, last) in zip(runs, bounds, strict=False)
    ]
