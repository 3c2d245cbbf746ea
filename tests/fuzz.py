"""The readers of foreign files under coverage-guided fuzzing by hand: any bytes are read, or refused by our own error.

atheris is not in requirements.lock. Install it into an environment of its own, then run it:

    python -m venv .phonoscope/fuzz && .phonoscope/fuzz/bin/pip install atheris
    export PYTHONPATH=.:src:.venv/lib/python3.11/site-packages
    .phonoscope/fuzz/bin/python -m tests.fuzz textgrid -max_total_time=300

with `textgrid`, `metadata`, `ct2` or `params`; the rest goes to libFuzzer. It stops at the first find, with its bytes.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["phonoscope", "praatio"]):
    from phonoscope.alignment.textgrid import read_textgrid
    from phonoscope.config.corpus import CorpusConfig
    from phonoscope.config.params import load_params
    from phonoscope.corpus.registry import open_source
    from phonoscope.whisper.ct2 import read_ct2

from phonoscope.errors import PhonoscopeError
from tests.alignment.test_textgrid import grid

FOLDER = Path(tempfile.mkdtemp(prefix="phonoscope-fuzz-"))
ROOT = Path(__file__).parents[1]
GRID = grid(("phones", [(0, 0.5, "AH0")]), xmax=0.5)


def textgrid(path: Path) -> object:
    return read_textgrid(path, 0.5)


def metadata(path: Path) -> object:
    path.replace(FOLDER / "metadata.csv")
    return list(open_source(CorpusConfig(source="folder", root=str(FOLDER))))


TARGETS: dict[str, tuple[Callable[[Path], object], bytes]] = {
    "textgrid": (textgrid, GRID.encode()),
    "metadata": (metadata, b'file,speaker,text,split\na/b.wav,anna,"One, two.",train\n'),
    "ct2": (read_ct2, b"\6\0\0\0\x0c\0WhisperSpec\0\3\0\0\0\1\0\0\0\2\0a\0\1\2\0\0\0\4\4\0\0\0\0\0\0\0\0\0\0\0"),
    "params": (load_params, b"codecs: {dac: {kind: dac, layers: 3}}\nsplit: {folds: 5}\n"),
}


def main() -> None:
    """Fuzz the target that the first argument names."""
    read, seed = TARGETS[sys.argv.pop(1)]
    corpus = FOLDER / "seeds"
    corpus.mkdir()
    (corpus / "whole").write_bytes(seed)
    defaults = (ROOT / "params.yaml").read_bytes() if read is load_params else seed[: len(seed) // 2]
    (corpus / "defaults").write_bytes(defaults)
    read(_written(seed))  # the seed itself must be read, or nothing behind the first check would be reached

    def once(content: bytes) -> None:
        try:
            read(_written(content))
        except PhonoscopeError:
            return

    atheris.Setup([*sys.argv, "-rss_limit_mb=2048", "-timeout=20", str(corpus)], once)
    atheris.Fuzz()


def _written(content: bytes) -> Path:
    path = FOLDER / "input"
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    main()
