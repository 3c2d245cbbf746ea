"""Speech of the corpus, as the stages around Whisper take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths

if TYPE_CHECKING:
    from phonoscope.whisper.utterances import Utterance


def utterances() -> list[Utterance]:
    """Every aligned utterance, in the manifest's order."""
    from phonoscope.data import Labels, Manifest, Split
    from phonoscope.whisper.utterances import list_utterances

    aligned = Manifest.load(paths.MANIFEST).select(Labels.load(paths.ALIGNMENTS).utterances)
    return list_utterances(aligned, Split.load(paths.SPLIT), paths.CORPUS)
