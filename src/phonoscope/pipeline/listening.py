"""Speech of the corpus and its labels, as the stages around Whisper take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths

if TYPE_CHECKING:
    from phonoscope.data import TimeLabels
    from phonoscope.whisper.utterances import Utterance


def utterances() -> list[Utterance]:
    """Every aligned utterance, in the manifest's order."""
    from phonoscope.data import Manifest, Split
    from phonoscope.data.tables import read_frame
    from phonoscope.whisper.utterances import list_utterances

    aligned = read_frame(paths.F0_TRACKS, ["utterance"])["utterance"].astype(str).unique()
    return list_utterances(Manifest.load(paths.MANIFEST).select(aligned), Split.load(paths.SPLIT), paths.CORPUS)


def alignments(utterances: list[Utterance]) -> TimeLabels:
    """Words and phones of utterances."""
    from phonoscope.alignment.textgrid import read_textgrid
    from phonoscope.data import Labels

    folder = paths.ALIGNMENTS
    files = {one.name: folder / one.file.relative_to(paths.CORPUS).with_suffix(".TextGrid") for one in utterances}
    return Labels.from_intervals({name: read_textgrid(file) for name, file in files.items()})
