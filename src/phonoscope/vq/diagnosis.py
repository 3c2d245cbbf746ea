"""Diagnosis of a quantizer, from its state alone or with data: usage, norms, dead and duplicate codes.

result = diagnose("model.safetensors")                        # or a state dict, or codebooks [K, D]
result = diagnose(codebook, cluster_sizes=sizes, vectors=z)   # encoder outputs [N, D], or codes=[N, L]
print(result)                                                 # result.faults, result.table()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from phonoscope.errors import DataError
from phonoscope.vq.observe import Observed, as_tensor, observe_counts, observe_vectors, read_counts, read_vectors
from phonoscope.vq.states import LIVE, Book, QuantizerState, load_tensors, read_state
from phonoscope.vq.usage import active_codes, perplexity

# verdicts and their meanings, the gravest first
VERDICTS = {
    "not_finite": "the codebook holds values that are not finite",
    "unscaled_ema": "the EMA update lacks the factor n, so used codes are n times their centroids",
    "inconsistent_sums": "the codes are not the ratio of their EMA sums and counts",
    "codes_off_scale": "the codes' norms are far from the inputs'",
    "collapsed": "almost all vectors have one of a few codes",
    "duplicates": "many codes are copies of others",
    "dead_codes": "most codes are never used",
    "healthy": "no known fault",
}

DEAD_USAGE = 0.01  # a dead code has less than this share of uniform usage
COPY_TOLERANCE = 1e-3  # distance of a duplicate, as a share of the median norm
RATIO_TOLERANCE = 1.5  # two norms are near within this factor
SCALE_TOLERANCE = 10.0  # codes within this factor of the inputs' norm are on their scale
MOST_DUPLICATES, MOST_DEAD = 0.1, 0.5  # shares of the codes
COLLAPSED = 0.01  # perplexity as a share of the codes
VECTORS_FOR_COLLAPSE = 100  # fewer vectors say nothing about collapse
VECTORS_A_CODE_FOR_DEAD = 5  # fewer vectors per code say nothing about dead codes
# numbers that the text shows, with their headings
COLUMNS = {
    "codes": "codes", "perplexity_ema": "perplexity (EMA)", "perplexity_dataset": "perplexity (dataset)",
    "dead_ema": "dead (EMA)", "unused_dataset": "unused (dataset)", "duplicates": "duplicates",
    "code_norm_median": "code norm", "norm_over_centroid": "/ centroid", "norm_over_input": "/ input",
    "verdict": "verdict",
}  # fmt: skip


class Fault(NamedTuple):
    """One fault of one layer."""

    layer: int  # from 1
    name: str  # one of `VERDICTS`
    reason: str

    def __str__(self) -> str:
        return f"layer {self.layer}: {self.reason}"


@dataclass(frozen=True)
class Diagnosis:
    """The faults of a quantizer, and the numbers that they rest on."""

    layout: str  # whose form the checkpoint has
    layers: list[dict[str, Any]]  # numbers of each layer and its verdict, JSON-able; None: could not be measured
    faults: list[Fault]  # by layer, and within a layer the gravest first
    not_judged: list[str]  # questions that neither state nor data answer, and why

    @property
    def verdict(self) -> str:
        """The gravest verdict of any layer; a key of `VERDICTS`."""
        return min((layer["verdict"] for layer in self.layers), key=list(VERDICTS).index)

    @property
    def healthy(self) -> bool:
        return self.verdict == "healthy"

    def table(self) -> pd.DataFrame:
        """The numbers, one row per layer."""
        return pd.DataFrame(self.layers).set_index("layer")

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis, JSON-able: verdict, and as evidence its meaning, the reasons and the numbers."""
        evidence: dict[str, Any] = {"layout": self.layout, "meaning": VERDICTS[self.verdict]}
        evidence |= {"reasons": list(map(str, self.faults)), "layers": self.layers, "not_judged": self.not_judged}
        return {"verdict": self.verdict, "evidence": evidence}

    def __str__(self) -> str:
        """Verdict, reasons, a table of the layers with the columns that were measured, and what could not be judged."""
        table = self.table()
        shown = table[[column for column in COLUMNS if column in table and bool(table[column].notna().any())]]
        lines = [f"{self.verdict}: {VERDICTS[self.verdict]} (layout {self.layout})", *map(str, self.faults)]
        lines += ["", shown.rename(columns=COLUMNS).to_string(float_format="{:.4g}".format, na_rep="-")]
        lines += [f"not judged - {part}" for part in self.not_judged]
        return "\n".join(line.rstrip() for text in lines for line in text.split("\n"))


def diagnose(
    quantizer: Any, *, cluster_sizes: Any = None, sums: Any = None, vectors: Any = None, codes: Any = None
) -> Diagnosis:
    """Measure every layer of a quantizer and name its faults.

    Args:
        quantizer: a checkpoint (a file, or its folder), a state dict, a codebook [K, D], or a list of codebooks, one
            per layer.
        cluster_sizes, sums: EMA counts [K] and sums [K, D] of the codebook, or lists of them, one per layer.
        vectors: encoder outputs [N, D] as an array, or a file (.npy, .safetensors).
        codes: codes [N, L] of a dataset as an array, or a token table (.parquet with code_1, code_2, ...).
    Raises: `DataError`, naming the file if there is one, for an unknown layout or data that do not fit.
    """
    with _named(quantizer):
        tensors = load_tensors(Path(quantizer)) if isinstance(quantizer, str | Path) else quantizer
        state = read_state(tensors) if isinstance(tensors, Mapping) else _state_of_arrays(tensors, cluster_sizes, sums)
    if vectors is not None and codes is not None:
        raise DataError("give either vectors or codes")
    data = codes if vectors is None else vectors
    with _named(data):
        if isinstance(data, str | Path) and not Path(data).is_file():
            raise DataError("no such file of data")
        if vectors is not None:
            return diagnose_state(state, observe_vectors(state, read_vectors(vectors)))
        return diagnose_state(state, [] if codes is None else observe_counts(state, read_counts(codes)))


def _state_of_arrays(books: Any, sizes: Any, sums: Any) -> QuantizerState:
    """The state of codebooks given as arrays; a single one stands for one layer."""
    books, sizes, sums = (
        [None if array is None else as_tensor(array).double() for array in group]
        for group in (group if isinstance(group, list | tuple) else [group] for group in (books, sizes, sums))
    )
    if not books:
        raise DataError("no codebook was given")
    layers = islice(zip_longest(books, sizes, sums), len(books))
    return QuantizerState("arrays", [Book(f"layer_{n}", *parts) for n, parts in enumerate(layers, start=1)])


@contextmanager
def _named(source: Any) -> Iterator[None]:
    """Put a file's name in front of the message of a `DataError`; an array has none."""
    try:
        yield
    except DataError as error:
        if not isinstance(source, str | Path) or str(error).startswith(str(Path(source))):
            raise
        raise DataError(f"{Path(source)}: {error}") from error


def diagnose_state(state: QuantizerState, observed: Sequence[Observed] = ()) -> Diagnosis:
    """As `diagnose`, from a state and usage that may cover only the first layers, or none."""
    layers: list[dict[str, Any]] = []
    faults: list[Fault] = []
    pairs = islice(zip_longest(state.books, observed), len(state.books))
    for layer, (book, seen) in enumerate(pairs, start=1):
        numbers = measure(book, seen)
        named = judge(numbers)
        faults += [Fault(layer, name, reason) for name, reason in named]
        layers.append({"layer": layer, **numbers, "verdict": named[0][0] if named else "healthy"})
    return Diagnosis(state.layout, layers, faults, _not_judged(state, observed))


def _not_judged(state: QuantizerState, observed: Sequence[Observed]) -> list[str]:
    """Questions that the state and the data leave open, and why."""
    missing = []
    stale = any(book.sizes is not None and not book.updated for book in state.books)
    why = "were never updated" if stale else "are missing"
    if any(not book.updated for book in state.books[len(observed) :]):
        missing.append(f"usage: the checkpoint's cluster sizes {why}; give data")
    silent = [(book, seen) for book, seen in zip(state.books, observed, strict=False) if not book.updated]
    if any(seen.counts.sum() < VECTORS_A_CODE_FOR_DEAD * len(book.vectors) for book, seen in silent):
        missing.append(f"dead codes: the data have fewer than {VECTORS_A_CODE_FOR_DEAD} vectors per code")
    needs_sums = any((book.sums is None or not book.updated) and not book.unit for book in state.books)
    if needs_sums and not any(seen.norm for seen in observed):
        missing.append(f"scale of the codes: the checkpoint's EMA sums {why}; give encoder outputs as data")
    return missing


def measure(book: Book, seen: Observed | None = None) -> dict[str, Any]:
    """Numbers of one layer; None for those that neither the state nor the data give."""
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
    numbers: dict[str, Any] = dict.fromkeys(keys)
    sizes = book.sizes
    if sizes is None or not book.updated:
        return numbers
    dead = int((sizes < DEAD_USAGE * sizes.mean()).sum())
    numbers |= {"ema_count": float(sizes.sum()), "perplexity_ema": float(perplexity(sizes)), "dead_ema": dead}
    live = sizes > LIVE
    if book.sums is not None and bool(live.any()):
        centroids = book.sums[live].norm(dim=1) / sizes[live]
        numbers["centroid_norm_median"] = float(centroids.median())
        if not book.unit:  # unit codes keep their length, whatever the sums are
            ratios = book.vectors[live].norm(dim=1) / centroids.clamp(min=1e-12)
            numbers["norm_over_centroid"] = float(ratios.median())
    return numbers


def _dataset_usage(seen: Observed | None, code_norm: float | None) -> dict[str, Any]:
    """Usage by a dataset, and the codes' median norm over that of the layer's inputs."""
    usage = ("vectors", "perplexity_dataset", "active_dataset", "unused_dataset", "dead_dataset")
    keys = (*usage, "input_norm_median", "norm_over_input")
    if seen is None:
        return dict.fromkeys(keys)
    counts, active = seen.counts, int(active_codes(seen.counts))
    unused = len(counts) - active
    # a lower bound on codes in use that the data do not contain yet (Chao 1984, bias-corrected): a small dataset must
    # not make a healthy codebook look dead
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    dead = max(0, unused - once * (once - 1) // (2 * (twice + 1)))
    over = code_norm / seen.norm if seen.norm and code_norm is not None else None
    numbers = (int(counts.sum()), float(perplexity(counts)), active, unused, dead, seen.norm, over)
    return dict(zip(keys, numbers, strict=True))


def _duplicates(rows: Tensor, batch: int = 2048) -> int:
    """The number of rows [K, d] that nearly equal an earlier row."""
    within = COPY_TOLERANCE * float(rows.norm(dim=1).median())
    later = 0  # in batches: all distances of a large codebook do not fit into memory
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        near = torch.cdist(part, rows) <= within
        # below the diagonal, so that of a group of copies the first is not counted
        later += int(near.tril(diagonal=start - 1).any(dim=1).sum())
    return later


def judge(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """Faults that a layer's numbers show, the gravest first: (verdict, reason)."""
    if numbers["not_finite"]:
        return [("not_finite", f"{numbers['not_finite']} values are not finite; go back to an earlier checkpoint")]
    faults = [*_scale_faults(numbers), *_usage_faults(numbers)]
    if numbers["duplicates"] > MOST_DUPLICATES * numbers["codes"]:
        faults.append(("duplicates", f"{numbers['duplicates']} of {numbers['codes']} codes are copies of earlier ones"))
    return sorted(faults, key=lambda fault: list(VERDICTS).index(fault[0]))


def _scale_faults(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    n, by_sums, by_inputs = numbers["ema_count"], numbers["norm_over_centroid"], numbers["norm_over_input"]
    remedy = "divide the EMA sums by n times the smoothed shares, as in (N + eps) / (n + K eps) * n"
    if by_sums is not None and not 1 / RATIO_TOLERANCE < by_sums < RATIO_TOLERANCE:
        if n / RATIO_TOLERANCE < by_sums < n * RATIO_TOLERANCE:
            against = f"code norms are {by_sums:.4g} times those of their centroids, and n is {n:.4g}"
            return [("unscaled_ema", f"{against}; {remedy}")]
        return [("inconsistent_sums", f"code norms are {by_sums:.3g} times those of their centroids, not once")]
    if by_inputs is None:
        return []
    # without sums: against the inputs, the ratio is n times the length of a centroid, which is below 1, as a mean of
    # vectors is shorter than they are; hence the wide range below 2n
    if by_sums is None and n is not None and max(SCALE_TOLERANCE, n / 20) < by_inputs < 2 * n:
        against = f"code norms are {by_inputs:.4g} times those of the inputs, and n is {n:.4g}"
        return [("unscaled_ema", f"{against}; {remedy}")]
    if not 1 / SCALE_TOLERANCE < by_inputs < SCALE_TOLERANCE:
        fault = f"code norms are {by_inputs:.3g} times those of the inputs"
        return [("codes_off_scale", f"{fault}; give data scaled as in training, or train on these")]
    return []


def _usage_faults(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """Collapse and dead codes: by the dataset if it is large enough, else by the EMA counts."""
    codes, vectors = numbers["codes"], numbers["vectors"] or 0
    faults = []
    # at least 2 codes; but of a codebook of 2, both in use are no collapse
    limit = min(max(2.0, COLLAPSED * codes), codes / 2)
    of = "dataset" if vectors >= VECTORS_FOR_COLLAPSE else "ema"
    value = numbers[f"perplexity_{of}"]
    if value is not None and value <= limit:
        faults.append(("collapsed", f"perplexity_{of} is {value:.2f} with {codes} codes"))
    of = "dataset" if vectors >= VECTORS_A_CODE_FOR_DEAD * codes else "ema"
    dead = numbers[f"dead_{of}"]
    if dead is not None and dead > MOST_DEAD * codes:
        faults.append(("dead_codes", f"{dead} of {codes} codes are dead by their {of} usage"))
    return faults
