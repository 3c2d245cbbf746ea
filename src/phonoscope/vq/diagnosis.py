"""What is wrong with a quantizer, from its state alone or with data: usage, norms, dead and duplicate codes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from phonoscope.errors import DataError
from phonoscope.vq.states import LIVE, Book, QuantizerState
from phonoscope.vq.usage import active_codes, perplexity

VERDICTS = {
    "not_finite": "the codebook holds values that are not finite",
    "unscaled_ema": "the EMA update lacks the factor n, so that used codes are n times their centroids",
    "inconsistent_sums": "the codes are not the ratio of their EMA sums and counts",
    "codes_off_scale": "the codes' norms are far from the inputs'",
    "collapsed": "next to all vectors fall on a few codes",
    "duplicates": "many codes are copies of others",
    "dead_codes": "most codes are never used",
    "healthy": "no known fault",
}
"""What a quantizer can be found to be, the gravest first."""

DEAD_USAGE = 0.01  # of uniform usage
COPY_TOLERANCE = 1e-3  # of the median norm
RATIO_TOLERANCE = 1.5  # a factor, either way
SCALE_TOLERANCE = 10.0
MOST_DUPLICATES = 0.1  # of the codes
MOST_DEAD = 0.5
COLLAPSED = 0.01
VECTORS_FOR_COLLAPSE = 100
VECTORS_A_CODE_FOR_DEAD = 5


@dataclass(frozen=True)
class Observed:
    """A dataset at one layer. counts: [K] vectors a code. norm: the median norm of the layer's inputs, if known."""

    counts: Tensor
    norm: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """A verdict of `VERDICTS` and what it rests on, JSON-able; null stands for what could not be measured."""

    verdict: str
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return self.verdict == "healthy"


def observe_vectors(state: QuantizerState, vectors: Tensor) -> list[Observed]:
    """Run encoder outputs [N, D] through the layers, up to one whose codes are not finite.

    Raises: `DataError` if they do not fit or are not finite, or the layers do not fit each other.
    """
    takes = _width(state)
    if vectors.ndim != 2 or vectors.shape[1] != takes or not len(vectors):
        raise DataError(f"the quantizer takes vectors [N, {takes}], not {list(vectors.shape)}")
    if not torch.isfinite(vectors).all():
        raise DataError("the vectors hold values that are not finite")
    residual = F.normalize(vectors.double()) if state.unit_inputs else vectors.double()
    if state.project_in:
        residual = state.project_in(residual)
        if not torch.isfinite(residual).all():
            raise DataError("the projection before the first layer gives values that are not finite")
    observed = []
    for book in state.books:
        inputs = book.project_in(residual) if book.project_in else residual
        codes = book.search(residual)
        counts = torch.bincount(codes, minlength=len(book.vectors))
        observed.append(Observed(counts, float(inputs.norm(dim=1).median())))
        residual = residual - book.decode(codes)
        if not torch.isfinite(residual).all():
            break
    return observed


def _width(state: QuantizerState) -> int:
    """How many dimensions the quantizer takes. Raises `DataError` if its layers cannot be passed one after another."""
    widths = set()
    for book in state.books:
        codes = book.vectors.shape[1]
        inside, takes = book.project_in.weight.shape if book.project_in else (codes, codes)
        gives, outside = book.project_out.weight.shape if book.project_out else (codes, codes)
        if not inside == codes == outside:
            reason = f"codes of {codes} dimensions between projections to {inside} and from {outside}"
            raise DataError(f"cannot be quantized: {book.name} has {reason}; give a table of tokens, or no data")
        widths |= {takes, gives}
    if state.project_in:
        widths.add(state.project_in.weight.shape[0])
    if len(widths) > 1 or len({re.sub(r"\d+", "", book.name) for book in state.books}) > 1:
        names = f"{state.books[0].name} to {state.books[-1].name}"
        mend = "give a checkpoint of one quantizer, a table of tokens, or no data"
        raise DataError(f"cannot be quantized: {names} do not fit each other as layers of one quantizer; {mend}")
    return state.project_in.weight.shape[1] if state.project_in else widths.pop()


def observe_counts(state: QuantizerState, counts: Sequence[Tensor]) -> list[Observed]:
    """Take counts [K] of the first layers' codes. Raises `DataError` if there are more layers or codes than books."""
    if len(counts) > len(state.books):
        raise DataError(f"the codes are of {len(counts)} layers, the checkpoint has {len(state.books)}")
    observed = []
    for layer, (count, book) in enumerate(zip(counts, state.books, strict=False), start=1):
        size = len(book.vectors)
        if len(count) > size:
            raise DataError(f"layer {layer} has a code {len(count) - 1}, but its codebook only {size} codes")
        observed.append(Observed(F.pad(count, (0, size - len(count)))))
    return observed


def diagnose(state: QuantizerState, observed: Sequence[Observed] = ()) -> Diagnosis:
    """Measure every layer and name the gravest fault. `observed` may cover only the first layers, or none."""
    layers, reasons = [], []
    for index, book in enumerate(state.books):
        seen = observed[index] if index < len(observed) else None
        measured = measure(book, seen)
        faults = judge(measured)
        measured["verdict"] = next((verdict for verdict, _ in faults), "healthy")
        reasons += [f"layer {index + 1}: {reason}" for _, reason in faults]
        layers.append({"layer": index + 1, **measured})
    order = list(VERDICTS)
    verdict = min((layer["verdict"] for layer in layers), key=order.index)
    evidence = {"layout": state.layout, "meaning": VERDICTS[verdict], "reasons": reasons, "layers": layers}
    return Diagnosis(verdict, {**evidence, "not_judged": _not_judged(state, observed)})


def _not_judged(state: QuantizerState, observed: Sequence[Observed]) -> list[str]:
    missing = []
    untold = [book for book in state.books if not book.updated]
    stale = any(book.sizes is not None for book in untold)
    if any(not book.updated for book in state.books[len(observed) :]):
        why = "the checkpoint's cluster sizes were never updated" if stale else "the checkpoint has no cluster sizes"
        missing.append(f"usage: {why}; give --data")
    pairs = list(zip(state.books, observed, strict=False))
    if any(
        not book.updated and seen.counts.sum() < VECTORS_A_CODE_FOR_DEAD * len(book.vectors) for book, seen in pairs
    ):
        missing.append(f"dead codes: the data have fewer than {VECTORS_A_CODE_FOR_DEAD} vectors a code")
    needs_sums = any((book.sums is None or not book.updated) and not book.unit for book in state.books)
    if needs_sums and not any(seen.norm for seen in observed):
        why = "the checkpoint's EMA sums were never updated" if stale else "the checkpoint has no EMA sums"
        missing.append(f"scale of the codes: {why}; give --data with encoder outputs")
    return missing


def measure(book: Book, seen: Observed | None = None) -> dict[str, Any]:
    """One layer's numbers; those that the state or the data do not tell are None."""
    codes, dimensions = book.vectors.shape
    numbers: dict[str, Any] = {"name": book.name, "codes": codes, "dimensions": dimensions}
    maps = [tensor for side in (book.project_in, book.project_out) if side for tensor in side.tensors()]
    buffers = [tensor for tensor in (book.vectors, book.sizes, book.sums, *maps) if tensor is not None]
    numbers["not_finite"] = sum(int((~torch.isfinite(tensor)).sum()) for tensor in buffers)
    if numbers["not_finite"]:
        return numbers
    norms = book.vectors.norm(dim=1)
    return {
        **numbers,
        "code_norm_min": float(norms.min()),
        "code_norm_median": float(norms.median()),
        "code_norm_max": float(norms.max()),
        "unit_codes": book.unit,
        "duplicates": _duplicates(F.normalize(book.vectors) if book.cosine else book.vectors),
        **_ema_usage(book),
        **_dataset_usage(seen, None if book.unit else float(norms[book.live].median())),
    }


def _ema_usage(book: Book) -> dict[str, Any]:
    """Usage by the EMA counts, and the codes' norms over those of their centroids (sums over counts)."""
    keys = ("ema_count", "perplexity_ema", "dead_ema", "centroid_norm_median", "norm_over_centroid")
    sizes = book.sizes
    if sizes is None or not book.updated:
        return dict.fromkeys(keys)
    dead = sizes < DEAD_USAGE * sizes.mean()
    centroid = ratio = None
    live = sizes > LIVE
    if book.sums is not None and bool(live.any()):
        centroids = book.sums[live].norm(dim=1) / sizes[live]
        centroid = float(centroids.median())
        ratio = None if book.unit else float((book.vectors[live].norm(dim=1) / centroids.clamp(min=1e-12)).median())
    usage = (float(sizes.sum()), float(perplexity(sizes)), int(dead.sum()))
    return dict(zip(keys, (*usage, centroid, ratio), strict=True))


def _dataset_usage(seen: Observed | None, code_norm: float | None) -> dict[str, Any]:
    usage = ("vectors", "perplexity_dataset", "active_dataset", "unused_dataset", "dead_dataset")
    keys = (*usage, "input_norm_median", "norm_over_input")
    if seen is None:
        return dict.fromkeys(keys)
    counts, active = seen.counts, int(active_codes(seen.counts))
    unused = len(counts) - active
    numbers = (int(counts.sum()), float(perplexity(counts)), active, unused, max(0, unused - _unseen(counts)))
    over = code_norm / seen.norm if seen.norm and code_norm is not None else None
    return dict(zip(keys, (*numbers, seen.norm, over), strict=True))


def _unseen(counts: Tensor) -> int:
    """How many codes at least are in use though the data have none of them yet (Chao 1984, without its bias)."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once * (once - 1) // (2 * (twice + 1))


def _duplicates(rows: Tensor, batch: int = 2048) -> int:
    """How many of rows [K, d] are nearly an earlier row."""
    within = COPY_TOLERANCE * float(rows.norm(dim=1).median())
    later = 0
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        near = torch.cdist(part, rows) <= within
        later += int(near.tril(diagonal=start - 1).any(dim=1).sum())
    return later


def judge(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """The faults that a layer's numbers show, gravest first, each with its reason."""
    if numbers["not_finite"]:
        return [("not_finite", f"{numbers['not_finite']} values are not finite; go back to an earlier checkpoint")]
    found = [*_scale_faults(numbers), *_usage_faults(numbers)]
    if numbers["duplicates"] > MOST_DUPLICATES * numbers["codes"]:
        found.append(("duplicates", f"{numbers['duplicates']} of {numbers['codes']} codes are copies of earlier ones"))
    return sorted(found, key=lambda fault: list(VERDICTS).index(fault[0]))


def _near(value: float, target: float) -> bool:
    return value > 0 and target > 0 and abs(math.log(value / target)) < math.log(RATIO_TOLERANCE)


def _scale_faults(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    n, by_sums, by_inputs = numbers["ema_count"], numbers["norm_over_centroid"], numbers["norm_over_input"]
    mend = "divide the EMA sums by n times the smoothed shares, as in (N + eps) / (n + K eps) * n"
    if by_sums is not None and not _near(by_sums, 1):
        if _near(by_sums, n):
            against = f"code norms are {by_sums:.4g} times those of their centroids, and n is {n:.4g}"
            return [("unscaled_ema", f"{against}; {mend}")]
        return [("inconsistent_sums", f"code norms are {by_sums:.3g} times those of their centroids, not once")]
    if by_inputs is None:
        return []
    # against the inputs the ratio is n times the length of a centroid, which is well below that of its vectors
    if by_sums is None and n is not None and max(SCALE_TOLERANCE, n / 20) < by_inputs < 2 * n:
        against = f"code norms are {by_inputs:.4g} times those of the inputs, and n is {n:.4g}"
        return [("unscaled_ema", f"{against}; {mend}")]
    if not 1 / SCALE_TOLERANCE < by_inputs < SCALE_TOLERANCE:
        fault = f"code norms are {by_inputs:.3g} times those of the inputs"
        return [("codes_off_scale", f"{fault}; give data scaled as in training, or train on these")]
    return []


def _usage_faults(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """By the dataset where it is large enough to tell, else by the EMA counts."""
    codes, vectors = numbers["codes"], numbers["vectors"] or 0
    found = []
    limit = min(max(2.0, COLLAPSED * codes), codes / 2)
    of = "dataset" if vectors >= VECTORS_FOR_COLLAPSE else "ema"
    value = numbers[f"perplexity_{of}"]
    if value is not None and value <= limit:
        found.append(("collapsed", f"perplexity_{of} is {value:.2f} with {codes} codes"))
    of = "dataset" if vectors >= VECTORS_A_CODE_FOR_DEAD * codes else "ema"
    dead = numbers[f"dead_{of}"]
    if dead is not None and dead > MOST_DEAD * codes:
        found.append(("dead_codes", f"{dead} of {codes} codes are dead by their {of} usage"))
    return found
