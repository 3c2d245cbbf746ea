"""What is kept of a run on recorded speech."""

import json
from pathlib import Path

from tests.pipeline.clone import Clone
from tools.recorded import keep


def test_the_compared_tables_and_the_parameters_are_kept_without_the_path(tmp_path: Path) -> None:
    repository = Clone(tmp_path / "repository").initialise()
    files = {
        "params.yaml": "corpus: {source: fsdd, root: /home/someone/fsdd}  # a comment\n",
        "metrics/split.csv": "metric,value\neval,3\n",
        "metrics/summary.json": "{}",
        "metrics/compare/probes.csv": "codec\ndac\n",
        "metrics/sae/encoder_3.csv": "feature\n1\n",
        "metrics/compare/table.md": "# table",
    }
    for name, text in files.items():
        (repository.root / name).parent.mkdir(parents=True, exist_ok=True)
        (repository.root / name).write_text(text)
    repository.commit("results")
    (repository.root / "metrics/split.csv").write_text("metric,value\neval,4\n")  # not of this commit

    results = tmp_path / "results/fsdd"
    (results / "compare").mkdir(parents=True)
    (results / "compare/old.csv").write_text("of another run")
    keep(repository.root, "HEAD", results)
    kept = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    assert kept == {"params.yaml", "split.csv", "summary.json", "compare/probes.csv"}
    assert (results / "split.csv").read_text() == files["metrics/split.csv"]
    assert json.loads((results / "summary.json").read_text()) == {}
    assert "someone" not in (results / "params.yaml").read_text()
    assert "fsdd" in (results / "params.yaml").read_text()
