"""Probes from arrays, for notebooks."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.config.probes import ProbeConfig
from phonoscope.data import Codebooks
from phonoscope.errors import DataError
from phonoscope.probes.examples import Examples, Fold
from phonoscope.probes.inputs import CodecInputs
from phonoscope.probes.pose import Posed
from phonoscope.probes.run import run_probes
from phonoscope.probes.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


def probe(
    codes: Any,
    codebooks: Any | None,
    labels: Any,
    *,
    utterances: Any,
    evaluation: Collection[Any] | float = 0.25,
    config: ProbeConfig | None = None,
    name: str = "codes",
    task: str = "labels",
    workers: int = 1,
) -> pd.DataFrame:
    """Probe every layer of codes for labels; the table of `phonoscope.probes.schema`.

    Args:
        codes: [n], or [layers, n]. All arrays may be NumPy's, torch's or lists.
        codebooks: [K, D] for one layer, or one such array a layer; None probes the codes themselves, one-hot.
        labels: [n]. Floating-point numbers pose a regression, NaN leaves a frame out; anything else poses a
            classification, and the label "" leaves a frame out.
        utterances: the utterance of each frame, [n]. Whole utterances are held out and resampled.
        evaluation: the utterances held out, or their share, drawn by the seed of `config`.
        config: probes, controls, classifier and intervals.
        name: stands in the column `codec`.
        task: stands in the column `task`.
        workers: processes.

    Raises `DataError` for arrays that do not fit together, or labels that cannot be probed.
    """
    config = config or ProbeConfig()
    layers = np.atleast_2d(_array(codes))
    targets, owners = _array(labels), _array(utterances).astype(str)
    if not layers.shape[1] == len(targets) == len(owners):
        raise DataError(f"{layers.shape[1]} frames of codes, {len(targets)} labels and {len(owners)} utterances")
    if layers.dtype.kind not in "iu" or layers.min(initial=0) < 0:
        raise DataError(f"codes should be integers from 0; they are {layers.dtype}")
    if codebooks is None:
        books = [np.eye(int(layers.max()) + 1, dtype=np.float32)] * len(layers)
    else:
        given = [_array(book) for book in codebooks] if np.ndim(codebooks[0]) > 1 else [_array(codebooks)]
        books = list(Codebooks.from_arrays(given).vectors)
    if len(books) != len(layers):
        raise DataError(f"{len(layers)} layers of codes, but {len(books)} codebooks")
    for layer, (row, book) in enumerate(zip(layers, books, strict=True), start=1):
        if row.max(initial=0) >= len(book):
            raise DataError(f"layer {layer} has code {row.max()}, but its codebook has {len(book)} rows")
    names, index = np.unique(owners, return_inverse=True)
    held_out, classes = _held_out(names, evaluation, config.seed), ()
    if targets.dtype.kind != "f":
        distinct, targets = np.unique(targets.astype(str), return_inverse=True)
        empty = int(distinct[0] == "")  # sorts first
        classes, targets = tuple(distinct[empty:].tolist()), targets - empty
        if not classes:
            raise DataError("no frame has a label")
    examples = Examples(targets, classes, index, np.arange(len(names)), [Fold(~held_out, held_out)])
    if not examples.can_be_scored():
        raise DataError("train needs two classes or a value, and the held-out utterances a labelled frame")
    posed = Posed(Task(task, "", lambda *_: (targets, classes), values=not classes), "utterances", examples)
    return run_probes([posed], CodecInputs(layers.T, books), config, codec=name, workers=workers).table


def _array(values: Any) -> Any:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _held_out(names: Any, evaluation: Collection[Any] | float, seed: int) -> Any:
    """Which utterances are held out, [utterances]."""
    if isinstance(evaluation, float):
        count = max(1, round(evaluation * len(names)))
        return np.isin(np.arange(len(names)), np.random.default_rng(seed).permutation(len(names))[:count])
    wanted = [str(name) for name in evaluation]
    unknown = set(wanted) - set(names.tolist())
    if unknown:
        raise DataError(f"utterance {min(unknown)!r} is held out, but has no frame")
    return np.isin(names, wanted)
