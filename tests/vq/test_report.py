from __future__ import annotations

from phonoscope.vq.answers import Findings
from phonoscope.vq.headline import Spread, headline
from phonoscope.vq.report import report

from .findings import findings


def headlines(found: Findings) -> dict[str, dict[str, Spread]]:
    return {name: headline(table) for name, table in found.tables.items()}


def test_the_report_holds_the_documents_numbers_beside_ours() -> None:
    found = findings()
    text = report(found, headlines(found))
    training = next(line for line in text.splitlines() if line.startswith("| 40 |"))
    assert training.startswith("| 40 | 183 | 157.2 | 2 | 130 [130, 130] | 100 [100, 100] | 1.5 [1.5, 1.5] | 320")
    evaluation = next(line for line in text.splitlines() if line.startswith("| vq_hsmm | 2.09"))
    assert "| 22.9% | 1.60 [1.60, 1.60] | 1.60 [1.60, 1.60] | 20.0 [20.0, 20.0] % |" in evaluation
    assert text.count("**refuted**") == 4
    assert all(f"| {name} |" in text for name in found.tables)
    widths = [{line.count("|") for line in part.splitlines() if line.startswith("|")} for part in text.split("##")]
    assert all(len(width) <= 1 for width in widths)
