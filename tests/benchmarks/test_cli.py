from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import show


def test_a_benchmark_is_shown_as_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"clips": 40, "ratio": 12.3456}
    show(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result


def test_or_a_line_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    show({"clips": 40, "ratio": 1234.56}, as_json=False)
    assert capsys.readouterr().out == "clips  40\nratio  1,235\n"
