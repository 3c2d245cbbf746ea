"""Sources of speech: each reads one corpus layout. `open_source` finds them by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import RawItem, Rejected
from phonoscope.corpus.sources import common_voice, folder, fsdd, librispeech, speech_commands, synthetic
from phonoscope.errors import ParamsError

Source = Callable[[Path, CorpusConfig], Iterator[RawItem | Rejected]]

SOURCES: dict[str, Source] = {
    "espeak": synthetic.read,
    "fsdd": fsdd.read,
    "librispeech": librispeech.read,
    "speech_commands": speech_commands.read,
    "common_voice": common_voice.read,
    "folder": folder.read,
}


def open_source(config: CorpusConfig) -> Iterator[RawItem | Rejected]:
    """The utterances of `config.root`, without their audio.

    Raises: `ParamsError` if the root is no folder; `DataError` while reading if the layout is not the source's.
    """
    root = Path(config.root)
    if not root.is_dir():
        raise ParamsError(f"{config.root!r} is not a folder; give the folder of a {config.source} corpus")
    return SOURCES[config.source](root, config)
