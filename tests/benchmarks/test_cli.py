import json

import pytest

from benchmarks.__main__ import show


def test_a_benchmark_is_shown_as_one_json_object_or_a_line_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"clips": 40, "ours": {"s": 1234.56}}
    show(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result
    show(result, as_json=False)
    assert capsys.readouterr().out == "clips   40\nours.s  1,235\n"
