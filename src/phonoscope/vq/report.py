"""The report of the ablation in Markdown: the document's tables beside ours, and its questions answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from phonoscope.studies.collapse.variants import UNSCALED
from phonoscope.vq.answers import Answer, Findings, hypotheses, questions
from phonoscope.vq.claims import judge
from phonoscope.vq.headline import Spread, last, whole_rows

Headlines = Mapping[str, Mapping[str, Spread]]

DOCUMENT_EPOCHS = 150
DOCUMENT_TRAINING = {40: (183, 157.2), 90: (174, 150.8), 140: (136, 88.9)}
"""Epoch -> active codes and perplexity of the EMA that the document saw of vq_hdp in training."""
DOCUMENT_EVAL = {"vq": (1.06, 0.229), "vq_hdp": (1.06, 0.229), "vq_hsmm": (2.09, 0.229), "vq_hdp_hsmm": (2.07, 0.229)}
"""Variant -> perplexity and accuracy that the document saw in evaluation."""
PLAIN = ("baseline", "hdp", "hsmm", "hdp_hsmm")


def report(found: Findings, headlines: Headlines) -> str:
    """All of it. The variants `vq`, `vq_hdp` and their like must be among the headlines."""
    return "\n".join(
        [
            "# Vector quantization: the collapse, rebuilt",
            "",
            "Numbers are medians [lowest, highest] over seeds; those of one seed are its medians over the last half of",
            "its epochs, unless said otherwise. The range of n seeds holds the median of all seeds with probability",
            f"1 - 2 / 2^n. Variants that end in `{UNSCALED}` have the faulty update.",
            "",
            *_section("What must hold", _claims(found)),
            *_section("Training: the document's table and ours", _training(found)),
            *_section("Evaluation: the document's table and ours", _evaluation(found, headlines)),
            *_section("The cause", _cause(found)),
            *_section("The document's hypotheses", _answers("hypothesis", hypotheses(found))),
            *_section("The document's diagnostic questions", _answers("question", questions(found))),
            *_section("All variants", _variants(headlines)),
        ]
    )


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _answers(kind: str, answers: Sequence[Answer]) -> list[str]:
    return _table((kind, "answer", "measured"), [(one.asked, f"**{one.verdict}**", one.measured) for one in answers])


def _claims(found: Findings) -> list[str]:
    rows = [
        (said, "yes" if judged.holds else "**no**", judged.seen, f"{judged.single:.0%}")
        for said, judged in judge(found.tables).items()
    ]
    return [
        "Judged by each variant's median; the last column is the share of all single evaluations, one an epoch in the",
        "last half of every run, of which the same holds.",
        "",
        *_table(("claim", "holds", "variants' medians", "of single evaluations"), rows),
    ]


def _training(found: Findings) -> list[str]:
    """The document's epochs, or ours at the same share of the run."""
    epochs = int(found.tables["vq_hdp"]["epoch"].max())
    rows = []
    for theirs, (codes, perplexity) in DOCUMENT_TRAINING.items():
        epoch = max(1, round(theirs / DOCUMENT_EPOCHS * epochs))
        cells = [str(theirs), f"{codes}", f"{perplexity}", str(epoch)]
        for variant in (f"vq_hdp{UNSCALED}", "vq_hdp"):
            for mode, split, column, digits in (
                ("eval", "eval", "active_codes_ema", 0),
                ("eval", "eval", "perplexity_ema", 0),
                ("fit", "train", "perplexity_batch", 1),
            ):
                own = whole_rows(found.tables[variant], mode, split)
                cells.append(Spread.of(own[own["epoch"] == epoch].set_index("seed")[column]).text(digits))
        rows.append(cells)
    of = [f"{what}, {update}" for update in ("faulty", "right") for what in ("active, EMA", "EMA", "batch")]
    header = ("epoch, document", "active", "perplexity", f"epoch of our {epochs}", *of)
    return [
        "`vq_hdp` in training. The document's perplexity is the EMA's history; `batch` is that of training batches.",
        "",
        *_table(header, rows),
    ]


def _evaluation(found: Findings, headlines: Headlines) -> list[str]:
    rows = []
    for variant, (perplexity, accuracy) in DOCUMENT_EVAL.items():
        faulty, right = headlines[f"{variant}{UNSCALED}"], headlines[variant]
        final = Spread.of(last(found.tables[f"{variant}{UNSCALED}"], "eval", "eval", "perplexity_printed"))
        rows.append(
            (
                variant,
                f"{perplexity}",
                f"{accuracy:.1%}",
                faulty["perplexity_printed_eval"].text(),
                final.text(),
                _percent(faulty["accuracy"]),
                right["perplexity_printed_eval"].text(1),
                _percent(right["accuracy"]),
            )
        )
    rows += [(name, "-", "82-89%", "-", "-", "-", "-", _percent(headlines[name]["accuracy"])) for name in PLAIN]
    return [
        "Perplexities here are printed by the document's formula (mean over batches; one code of 512 reads 1.06).",
        f"The majority class is {headlines['baseline']['majority'].median:.1%} of the eval clips.",
        "",
        *_table(
            (
                "variant",
                "document: perplexity",
                "accuracy",
                "faulty: perplexity",
                "of the trained model",
                "accuracy",
                "right: perplexity",
                "accuracy",
            ),
            rows,
        ),
    ]


def _percent(spread: Spread) -> str:
    return f"{Spread(100 * spread.median, 100 * spread.low, 100 * spread.high, spread.seeds).text(1)} %"


def _cause(found: Findings) -> list[str]:
    rows = []
    for name in ("vq_unscaled", "vq"):
        own = found.checks[name]
        checks = {key: Spread.of(own[key]) for key in own}
        accuracy = Spread.of(last(found.tables[name], "eval", "eval", "accuracy"))
        codes = Spread.of(last(found.tables[name], "eval", "eval", "active_codes"))
        rows.append(
            (
                name,
                checks["code_scale"].text(1),
                checks["ema_total"].text(1),
                codes.text(0),
                _percent(accuracy),
                checks["repaired_active_codes"].text(0),
                _percent(checks["repaired_accuracy"]),
            )
        )
    return [
        "A code's norm over that of its own running mean S/N (median over codes) is n, the EMA's total count, where",
        "the update lacks that factor, and 1 where it has it. `repaired`: the trained model, each code set to S/N.",
        "",
        *_table(("variant", "norm / mean's", "n", "codes in eval", "accuracy", "repaired: codes", "accuracy"), rows),
    ]


def _variants(headlines: Headlines) -> list[str]:
    columns = {
        "accuracy": ("accuracy", 3),
        "perplexity, train": ("perplexity_train", 1),
        "eval": ("perplexity_eval", 1),
        "batch, eval": ("perplexity_batch_eval", 1),
        "EMA": ("perplexity_ema", 0),
        "codes, train": ("active_codes_train", 0),
        "eval ": ("active_codes_eval", 0),
        "largest norm": ("code_norm_max", 1),
        "distance": ("distance_eval", 2),
        "restarts a batch": ("restart_share", 4),
        "drift": ("drift_eval", 4),
    }
    rows = [
        [variant, *(found[key].text(digits) if key in found else "-" for key, digits in columns.values())]
        for variant, found in headlines.items()
    ]
    return _table(("variant", *columns), rows)
