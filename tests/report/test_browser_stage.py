from __future__ import annotations

from pathlib import Path

import pytest

from phonoscope import paths
from phonoscope.pipeline.browse import run

from .browser_checkout import PARAMS, SITE, write_interpretation


def written() -> dict[str, bytes]:
    folder = paths.browser(SITE)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_stage_writes_a_page_that_needs_nothing_else_and_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_interpretation()
    report = run(PARAMS, SITE)
    files = written()
    assert {"index.html", "browse.js", "browse.css", "data.js"} < set(files)
    for feature in ("00000", "00001"):
        assert {f"clips/{feature}/{name}" for name in ("01.flac", "04.flac", "spectrograms.png")} < set(files)
    assert report.metrics["features_with_clips"] == 2
    assert report.metrics["megabytes"] == pytest.approx(sum(map(len, files.values())) / 1e6)
    run(PARAMS, SITE)
    assert written() == files
