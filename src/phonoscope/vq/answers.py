"""The document's four hypotheses and four questions, each answered by what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from phonoscope.vq.headline import Spread, last, settled, whole_rows

COLLAPSED = 5
"""At most so many active codes are a collapse."""
DRIFTED = 0.05
"""An energy coefficient that is no drift worth the name is below this."""
FAULTY, RIGHT = "vq_unscaled", "vq"
NO_AUGMENTATION = "vq_no_augmentation_unscaled"


@dataclass(frozen=True)
class Findings:
    """All that the answers rest on."""

    tables: Mapping[str, pd.DataFrame]
    """metrics/vq by variant."""
    checks: Mapping[str, pd.DataFrame]
    """The checks by variant, a row a seed."""

    def of(self, variant: str, mode: str, split: str, column: str) -> Spread:
        """A measure over the last half of the epochs."""
        return Spread.of(settled(self.tables[variant], mode, split, column))

    def trained(self, variant: str, mode: str, split: str, column: str) -> Spread:
        """A measure of the trained models."""
        return Spread.of(last(self.tables[variant], mode, split, column))

    def check(self, variant: str, name: str) -> Spread:
        return Spread.of(self.checks[variant][name])


@dataclass(frozen=True)
class Answer:
    """A claim or question, what follows from the measurement, and the measurement in words."""

    asked: str
    verdict: str
    measured: str


def hypotheses(found: Findings) -> list[Answer]:
    """The document's four explanations of the collapse."""
    return [_not_updated(found), _shift(found), _overfitting(found), _eval_mode(found)]


def questions(found: Findings) -> list[Answer]:
    """The document's four diagnostic questions."""
    return [_when(found), _same_codes(found), _drift(found), _gradient(found)]


def _refuted(refuted: bool) -> str:
    return "refuted" if refuted else "not refuted"


def _not_updated(found: Findings) -> Answer:
    updated = found.trained(FAULTY, "train", "eval", "accuracy")
    frozen = found.of(RIGHT, "eval", "eval", "accuracy")
    codes = found.trained(FAULTY, "train", "eval", "active_codes")
    return Answer(
        "1. EMA statistics are not updated during evaluation",
        _refuted(updated.median < frozen.median / 2),
        f"Evaluated in train() mode, so that the codebook does learn from the eval clips, the faulty quantizer scores "
        f"{updated.text()} with {codes.text(0)} codes; the right one, frozen, scores {frozen.text()}.",
    )


def _shift(found: Findings) -> Answer:
    augmented = found.of(RIGHT, "fit", "train", "perplexity_dataset")
    clean = found.of(RIGHT, "eval", "train", "perplexity_dataset")
    text = (
        f"Augmentation does widen usage under the right update: perplexity {augmented.text(0)} on augmented training "
        f"batches, {clean.text(0)} on the same number of vectors of train as they are."
    )
    if NO_AUGMENTATION not in found.tables:
        return Answer("2. Training augmentation makes a diversity that clean data lack", "not tested", text)
    codes = found.of(NO_AUGMENTATION, "eval", "eval", "active_codes")
    ema = found.of(NO_AUGMENTATION, "eval", "eval", "perplexity_ema")
    return Answer(
        "2. Training augmentation makes a diversity that clean data lack",
        _refuted(codes.median <= COLLAPSED),
        f"{text} But the collapse needs none: without augmentation the faulty quantizer uses {codes.text(0)} codes in "
        f"eval, while the EMA's perplexity reads {ema.text(0)}.",
    )


def _overfitting(found: Findings) -> Answer:
    train = found.of(FAULTY, "eval", "train", "active_codes")
    held_out = found.of(FAULTY, "eval", "eval", "active_codes")
    return Answer(
        "3. The codebook is overfitted to the training batches",
        _refuted(train.median <= COLLAPSED),
        f"Measured alike on as many vectors, the faulty quantizer uses {train.text(0)} codes on clips it was trained "
        f"on and {held_out.text(0)} on clips it was not.",
    )


def _eval_mode(found: Findings) -> Answer:
    batch = found.of(FAULTY, "fit", "train", "perplexity_batch")
    changed = found.check(FAULTY, "state_changed_in_eval")
    return Answer(
        "4. eval() mode is mishandled",
        _refuted(changed.high == 0 and batch.median <= 2 * COLLAPSED),
        f"An evaluation in eval() mode changes {changed.high:.0f} tensors of the state. In train() mode, on the "
        f"training batches themselves, the perplexity of a batch is already {batch.text(1)}.",
    )


def _when(found: Findings) -> Answer:
    rows = found.tables[FAULTY]
    batches = rows[(rows["mode"] == "eval") & (rows["split"] == "eval") & (rows["batch"] > 0)]
    by_batch = batches.groupby("batch")["perplexity_batch"].median()
    before = found.trained(FAULTY, "fit", "train", "perplexity_batch")
    history = found.trained(FAULTY, "eval", "eval", "perplexity_ema")
    first = "at the first batch" if by_batch.iloc[0] <= 2 * COLLAPSED else "not at the first batch"
    return Answer(
        "1. Does the codebook collapse at the start of evaluation, or gradually?",
        "neither: it is collapsed in training" if before.median <= 2 * COLLAPSED else first,
        f"Perplexity of the last training batches: {before.text(1)}; of the {len(by_batch)} eval batches, in order "
        f"(medians over seeds): {', '.join(f'{value:.1f}' for value in by_batch)}. What read as healthy was the EMA's "
        f"perplexity, a history of about a hundred batches: {history.text(0)}.",
    )


def _same_codes(found: Findings) -> Answer:
    share = found.of(FAULTY, "eval", "eval", "clips_on_top_2")
    rows = whole_rows(found.tables[FAULTY], "eval", "eval")
    leading, epochs = Spread.of(rows.groupby("seed")["top_code"].nunique().astype(float)), rows["epoch"].nunique()
    codes = found.of(FAULTY, "eval", "eval", "active_codes")
    return Answer(
        "2. Are the same 1-2 codes used across all eval samples?",
        f"the same {codes.median:.0f} within one evaluation, "
        + ("others in the next" if leading.median > epochs / 2 else "and often in the next"),
        f"All eval clips together use {codes.text(0)} codes; the share of clips that lie on the two most used alone is "
        f"{share.text()}. In {epochs} evaluations, one an epoch, {leading.text(0)} different codes were the most used.",
    )


def _drift(found: Findings) -> Answer:
    held_out, null = (found.of(FAULTY, "eval", split, "drift") for split in ("eval", "train"))
    repaired = found.check(FAULTY, "repaired_active_codes")
    return Answer(
        "3. Do encoder features change distribution between train and eval?",
        "hardly" if held_out.median < DRIFTED else "yes",
        f"Energy coefficient (0 the same, 1 disjoint) of eval from train: {held_out.text(4)}; of other train clips "
        f"from train: {null.text(4)}. The same encoder outputs fall on {repaired.text(0)} codes as soon as every code "
        "is set to its own running mean.",
    )


def _gradient(found: Findings) -> Answer:
    cosine, graph = found.check(FAULTY, "gradient_cosine"), found.check(FAULTY, "evaluated_with_graph")
    apart = found.check(FAULTY, "graph_matters")
    return Answer(
        "4. Is the straight-through gradient detached during eval?",
        "yes, and it changes nothing" if graph.high == 0 and apart.high < 1e-3 else "no, or it matters",
        f"Evaluation {'records' if graph.high else 'does not record'} a gradient. A pass that does gives logits that "
        f"differ by {apart.high:.0e} of the largest. In training the gradient at the quantizer's input is that at its "
        f"output, but for the part along the vector, which the normalisation removes: cosine {cosine.text(3)}.",
    )
