"""Words and phones in time, their labels per frame, and F0."""

from phonoscope.alignment.align import Sources, align_utterance
from phonoscope.alignment.events import align_events
from phonoscope.alignment.forced import force_align
from phonoscope.alignment.pitch import f0_track
from phonoscope.alignment.textgrid import read_textgrid, write_textgrid
from phonoscope.config.alignment import AlignmentConfig
from phonoscope.data.labels import Alignment, Interval, frame_labels, sample_f0
from phonoscope.data.phones import PHONES, SILENCE, normalise_phone

__all__ = [
    "PHONES",
    "SILENCE",
    "Alignment",
    "AlignmentConfig",
    "Interval",
    "Sources",
    "align_events",
    "align_utterance",
    "f0_track",
    "force_align",
    "frame_labels",
    "normalise_phone",
    "read_textgrid",
    "sample_f0",
    "write_textgrid",
]
