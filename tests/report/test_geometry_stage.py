from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from phonoscope import paths
from phonoscope.config.geometry import GeometryConfig
from phonoscope.files import write_csv, write_parquet
from phonoscope.pipeline import geometry_report
from phonoscope.report.geometry import NO_WORDS, table
from phonoscope.report.projections import TSNE_CAUTION, codec_pictures
from tests.report.planted_geometry import clips, coordinates, scores

PARAMS: Any = SimpleNamespace(
    codecs={"dac": None, "encodec": None}, geometry=GeometryConfig(), compute=SimpleNamespace(workers=1)
)
DRAWN = {"dac": "projections_concat", "encodec": "codes_mean"}
VIEW = "full"
KINDS = ("pca_2d", "pca_3d", "tsne_2d", "tsne_3d", "complete")


def write_inputs(rows: slice = slice(None)) -> None:
    """Write these rows of all tables of both codecs."""
    for codec, drawn in DRAWN.items():
        write_csv(paths.geometry_metrics(codec), scores(codec, aliased=codec == "encodec")[rows])
        for name, frame in (("clips", clips()), ("coordinates", coordinates(drawn).query("view == @VIEW"))):
            content = pa.Table.from_pandas(frame[rows], preserve_index=False)
            write_parquet(paths.geometry(codec) / f"{name}.parquet", content)


def written() -> dict[str, bytes]:
    folders = (paths.GEOMETRY_REPORT, paths.GEOMETRY_FIGURES, paths.GEOMETRY_OVERVIEW)
    return {str(path): path.read_bytes() for folder in folders for path in sorted(folder.rglob("*.*"))}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("geometry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_inputs()
        report = geometry_report.run(PARAMS)
        assert all(figure.is_file() for figure in report.figures)
        assert report.metrics["dac.full.map_at_r_difference_word"] == pytest.approx(0.1)
    return folder


def test_every_representation_has_its_pages_and_images(reported: Path) -> None:
    figures, overview = reported / paths.GEOMETRY_FIGURES, reported / paths.GEOMETRY_OVERVIEW
    pages = {f"{codec}/{VIEW}/{name}_{kind}.html" for codec, name in DRAWN.items() for kind in KINDS}
    assert {str(page.relative_to(figures)) for page in figures.rglob("*.html")} == {*pages, "index.html"}
    images = {page.replace(".html", ".png") for page in pages if "complete" not in page}
    assert {str(image.relative_to(figures)) for image in figures.rglob("*.png")} == images
    together = {f"{codec}_{VIEW}_{name}" for codec, name in DRAWN.items()}
    compared = {f"{kind}_{view}" for kind in ("scores", "layers") for view in ("notebook", "full")}
    assert {image.stem for image in overview.iterdir()} == together | compared


def test_pages_share_one_plotly_js(reported: Path) -> None:
    figures = reported / paths.GEOMETRY_FIGURES
    assert [script.relative_to(figures).as_posix() for script in figures.rglob("*.js")] == ["plotly.min.js"]
    for page in figures.rglob("*_*.html"):
        (script,) = re.findall(r'<script [^>]*src="([^"]+)"', page.read_text(encoding="utf-8"))
        assert (page.parent / script).resolve() == (figures / "plotly.min.js").resolve()
        assert page.stat().st_size < 60_000


def test_a_page_says_what_it_shows(reported: Path) -> None:
    folder = reported / paths.GEOMETRY_FIGURES / "dac/full"
    text = (folder / "projections_concat_tsne_2d.html").read_text(encoding="utf-8")
    assert "dac, projections_concat (12,288 dimensions), view full, 24 clips" in text
    assert "perplexity 23, silhouette by word" in text
    assert TSNE_CAUTION in text
    assert "37.7 % of the variance" in (folder / "projections_concat_pca_2d.html").read_text(encoding="utf-8")


def test_points_keep_their_clips_whatever_the_order_of_the_tables() -> None:
    rows = table({"dac": scores("dac")})
    (first, *_) = codec_pictures("dac", rows, clips(), coordinates("codes_mean"), 30)
    place = list(first.clips["utterance"]).index("clip-00")
    assert [projection.coordinates[place].tolist() for projection in first.projections] == [[1, 2], [1, 2, 3]] * 2
    assert first.clips.loc[place, "word"] == "zero"


def test_the_index_links_to_every_page(reported: Path) -> None:
    figures = reported / paths.GEOMETRY_FIGURES
    text = (figures / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', text)
    assert sorted(links) == sorted(str(page.relative_to(figures)) for page in figures.rglob("*_*.html"))
    assert "<td>latent_sum</td><td>as codes_mean, up to a factor</td>" in text
    assert TSNE_CAUTION in text


def test_a_second_run_writes_the_same_bytes(reported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reported)
    first = written()
    geometry_report.run(PARAMS)
    assert written() == first


def test_projections_that_are_not_there_are_left_out() -> None:
    rows = table({"dac": scores("dac")})
    points = coordinates("codes_mean").assign(tsne3_1=float("nan"))
    views = [picture.projections for picture in codec_pictures("dac", rows, clips(), points, 30)]
    assert [[each.name for each in view] for view in views] == [["pca_2d", "pca_3d", "tsne_2d"]] * 2


def test_a_corpus_without_words_has_a_report_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(slice(0))
    report = geometry_report.run(PARAMS)
    assert report.figures == []
    assert NO_WORDS in (paths.GEOMETRY_REPORT / "table.md").read_text()
    assert NO_WORDS in (paths.GEOMETRY_FIGURES / "index.html").read_text()
    assert all(pd.read_csv(paths.GEOMETRY_REPORT / f"{name}.csv").empty for name in ("scores", "verdicts"))
