from __future__ import annotations

from dataclasses import dataclass

import pytest
from filelock import FileLock

from tests.pipeline.clone import TOY, Clone, make_clone

CODECS = ("dac", "speechtokenizer")
"""One that is only loaded and one that is adapted: another codec would run the same stages once more."""
SUITE = {
    **TOY,
    "codecs": {codec: TOY["codecs"][codec] if codec in CODECS else None for codec in TOY["codecs"]},
    "encoder": {**TOY["encoder"], "codec": "dac"},
    "compute": {"workers": 1},  # at this scale a worker's start costs more than its work
}


@dataclass(frozen=True)
class Done:
    """A clone after its first repro, which is committed."""

    clone: Clone
    output: str


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Done:
    """Made once for all of pytest-xdist's workers: the first that asks makes it, the others wait."""
    own = tmp_path_factory.getbasetemp()
    folder = own if worker_id == "master" else own.parent
    clone, output = Clone(folder / "clone" / "phonoscope"), folder / "repro.txt"
    with FileLock(folder / "clone.lock"):
        if not output.exists():
            make_clone(clone.root, SUITE)
            printed = clone.dvc("repro")
            clone.commit("Results")
            output.write_text(printed, encoding="utf-8")
    return Done(clone, output.read_text(encoding="utf-8"))
