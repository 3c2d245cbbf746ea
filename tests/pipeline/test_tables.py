from __future__ import annotations

from pathlib import Path

import pytest

from phonoscope.errors import DataError
from phonoscope.pipeline.tables import read_table


def test_a_table_is_read_or_refused_with_file_and_stage(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(DataError, match=r"table\.csv: no such file; run `dvc repro probe`"):
        read_table(path, "probe")
    path.write_text('layer,value\n1,0.5\n2,"0.25"\n')
    assert read_table(path, "probe")["value"].tolist() == [0.5, 0.25]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"not a readable CSV .*; run `dvc repro --force probe`"):
        read_table(path, "probe")
