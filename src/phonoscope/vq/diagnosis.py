"""What is wrong with a quantizer, from its state alone or with data: usage, norms, dead and duplicate codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from phonoscope.errors import DataError
from phonoscope.vq.states import Book, QuantizerState
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

LIVE = 1e-3  # EMA count from which the smoothing's epsilon no longer matters to a code
DEAD_USAGE = 0.01  # of uniform usage
UNIT_TOLERANCE = 1e-3
COPY_TOLERANCE = 1e-3  # of the median norm
RATIO_TOLERANCE = 1.5  # a factor, either way
SCALE_TOLERANCE = 10.0
MOST_DUPLICATES = 0.1  # of the codes
MOST_DEAD = 0.5
COLLAPSED = 0.01
VECTORS_FOR_COLLAPSE = 100
VECTORS_A_CODE_FOR_DEAD = 20


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
    """Run encoder outputs [N, D] through the layers. Raises `DataError` if they do not fit or are not finite."""
    first = state.books[0]
    takes = first.project_in.weight.shape[1] if first.project_in else first.vectors.shape[1]
    if vectors.ndim != 2 or vectors.shape[1] != takes or not len(vectors):
        raise DataError(f"the quantizer takes vectors [N, {takes}], not {list(vectors.shape)}")
    if not torch.isfinite(vectors).all():
        raise DataError("the vectors hold values that are not finite")
    residual = F.normalize(vectors.double()) if state.unit_inputs else vectors.double()
    observed = []
    for book in state.books:
        inputs = book.project_in(residual) if book.project_in else residual
        codes = book.search(residual)
        counts = torch.bincount(codes, minlength=len(book.vectors))
        observed.append(Observed(counts, float(inputs.norm(dim=1).median())))
        residual = residual - book.decode(codes)
    return observed


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
    if len(observed) < len(state.books) and any(book.sizes is None for book in state.books):
        missing.append("usage: the checkpoint has no cluster sizes; give --data")
    needs_sums = any(book.sums is None and not book.cosine for book in state.books)
    if needs_sums and not any(seen.norm for seen in observed):
        missing.append("scale of the codes: the checkpoint has no EMA sums; give --data with encoder outputs")
    return missing


def measure(book: Book, seen: Observed | None = None) -> dict[str, Any]:
    """One layer's numbers; those that the state or the data do not tell are None."""
    codes, dimensions = book.vectors.shape
    numbers: dict[str, Any] = {"name": book.name, "codes": codes, "dimensions": dimensions}
    buffers = [tensor for tensor in (book.vectors, book.sizes, book.sums) if tensor is not None]
    numbers["not_finite"] = sum(int((~torch.isfinite(tensor)).sum()) for tensor in buffers)
    if numbers["not_finite"]:
        return numbers
    norms = book.vectors.norm(dim=1)
    unit = book.cosine or bool((norms - 1).abs().max() < UNIT_TOLERANCE)
    return {
        **numbers,
        "code_norm_min": float(norms.min()),
        "code_norm_median": float(norms.median()),
        "code_norm_max": float(norms.max()),
        "unit_codes": unit,
        "duplicates": _duplicates(F.normalize(book.vectors) if book.cosine else book.vectors),
        **_ema_usage(book, unit),
        **_dataset_usage(seen, None if unit else float(norms[_live(book)].median())),
    }


def _live(book: Book) -> Tensor:
    """Which codes [K] have been in use of late; all where the state does not tell."""
    live = torch.ones(len(book.vectors), dtype=torch.bool) if book.sizes is None else book.sizes > LIVE
    return live if bool(live.any()) else ~live


def _ema_usage(book: Book, unit: bool) -> dict[str, Any]:
    """Usage by the EMA counts, and the codes' norms over those of their centroids (sums over counts)."""
    keys = ("ema_count", "perplexity_ema", "dead_ema", "centroid_norm_median", "norm_over_centroid")
    sizes = book.sizes
    if sizes is None or not bool(sizes.sum() > 0):
        return dict.fromkeys(keys)
    dead = sizes < DEAD_USAGE * sizes.mean()
    centroid = ratio = None
    live = sizes > LIVE
    if book.sums is not None and bool(live.any()):
        centroids = book.sums[live].norm(dim=1) / sizes[live]
        centroid = float(centroids.median())
        ratio = None if unit else float((book.vectors[live].norm(dim=1) / centroids.clamp(min=1e-12)).median())
    usage = (float(sizes.sum()), float(perplexity(sizes)), int(dead.sum()))
    return dict(zip(keys, (*usage, centroid, ratio), strict=True))


def _dataset_usage(seen: Observed | None, code_norm: float | None) -> dict[str, Any]:
    keys = ("vectors", "perplexity_dataset", "active_dataset", "dead_dataset", "input_norm_median", "norm_over_input")
    if seen is None:
        return dict.fromkeys(keys)
    active = int(active_codes(seen.counts))
    usage = (int(seen.counts.sum()), float(perplexity(seen.counts)), active, len(seen.counts) - active)
    over = code_norm / seen.norm if seen.norm and code_norm is not None else None
    return dict(zip(keys, (*usage, seen.norm, over), strict=True))


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
    against, ratio = ("their centroids", by_sums) if by_sums is not None else ("the inputs", by_inputs)
    if ratio is None or _near(ratio, 1):
        return []
    # against the inputs the ratio is n times the length of a centroid, which is well below that of its vectors
    if n is not None and (_near(ratio, n) if by_sums is not None else max(SCALE_TOLERANCE, n / 20) < ratio < 2 * n):
        mend = "divide the EMA sums by n times the smoothed shares, as in (N + eps) / (n + K eps) * n"
        return [("unscaled_ema", f"code norms are {ratio:.4g} times those of {against}, and n is {n:.4g}; {mend}")]
    if by_sums is not None:
        return [("inconsistent_sums", f"code norms are {ratio:.3g} times those of their centroids, not once")]
    if not 1 / SCALE_TOLERANCE < ratio < SCALE_TOLERANCE:
        return [("codes_off_scale", f"code norms are {ratio:.3g} times those of the inputs")]
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
