from __future__ import annotations

from phonoscope.vq.answers import Findings
from phonoscope.vq.headline import Spread, headline
from phonoscope.vq.report import expectations, report

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


def test_what_must_hold_is_judged_by_its_worst_variant() -> None:
    good = expectations(headlines(findings()))
    assert [holds for holds, _ in good.values()] == [True] * 6
    found = findings()
    wide = found.tables["vq_hdp"]
    wide.loc[wide["split"] == "eval", "perplexity_dataset"] = 90.0
    found.tables["vq_hsmm"]["active_codes"] = 99
    found.tables["vq_hdp_hsmm"]["accuracy"] = 0.94
    found.tables["vq_unscaled"]["active_codes"] = 6
    found.tables["vq_hdp_unscaled"]["accuracy"] = 0.5
    found.tables["vq_hsmm_unscaled"]["perplexity_ema"] = 161.0
    bad = expectations(headlines(found))
    assert [holds for holds, _ in bad.values()] == [False] * 6
    worst = [text.split("(")[-1].rstrip(")") for _, text in bad.values()]
    assert worst[:5] == ["vq_hdp", "vq_hsmm", "vq_hdp_hsmm", "vq_unscaled", "vq_hdp_unscaled"]
    assert worst[5] == "100 to 161"
