"""Sources of speech: one module of `phonoscope.corpus.sources` each, with a function `read(root, config)`."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus import sources
from phonoscope.corpus.items import RawItem, Rejected
from phonoscope.errors import ParamsError, nearest

Source = Callable[[Path, CorpusConfig], Iterator[RawItem | Rejected]]


def source_names() -> list[str]:
    """All sources, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(sources.__path__))


def check_source(name: str) -> None:
    """Raise `ParamsError`, naming the nearest source, if there is none of this name."""
    names = source_names()
    if name not in names:
        raise ParamsError(f"source: no corpus source is called {name!r}; {nearest(name, names)}")


def open_source(config: CorpusConfig) -> Iterator[RawItem | Rejected]:
    """The utterances of `config.root`, without their audio.

    Raises: `ParamsError` if there is no such source or root; `DataError` while reading a layout that is another one's.
    """
    check_source(config.source)
    root = Path(config.root)
    if not root.is_dir():
        raise ParamsError(f"root: {config.root!r} is not a folder; give the folder of a {config.source} corpus")
    read: Source = importlib.import_module(f"{sources.__name__}.{config.source}").read
    return read(root, config)
