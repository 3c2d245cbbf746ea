from __future__ import annotations

from pathlib import Path

from tests.pipeline.clone import executed
from tests.pipeline.conftest import Done
from tests.pipeline.disturb import locked


def test_built_again_with_another_number_of_workers_every_hash_is_the_same(done: Done, tmp_path: Path) -> None:
    again = done.clone.cloned(tmp_path / "phonoscope")
    before = locked(again)
    again.set_params({"compute": {"workers": 2}})
    output = again.run("env", "PYTHONPATH=src:.", "python", "-m", "tests.pipeline.rebuild").stdout
    assert f"{len(executed(done.output))} stages" in output
    (again.root / "dvc.lock").unlink()
    again.dvc("commit", "--force")
    assert locked(again) == before
