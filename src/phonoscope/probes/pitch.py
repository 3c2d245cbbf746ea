"""The pitch task in depth: F0 in Hz of voiced frames by least squares, from any input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.compute import derive_seed
from phonoscope.probes.information import permute_labels
from phonoscope.probes.measures import Measure
from phonoscope.probes.scores import ValueStatistics, draw_resamples, interval
from phonoscope.probes.splits import Fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.probes import DepthConfig
    from phonoscope.probes.inputs import Input

Array = np.ndarray[Any, np.dtype[np.float64]]
PITCH = "pitch"
METRICS = ("r2", "mae_hz")


@dataclass(frozen=True)
class Values:
    """F0 of the frames."""

    f0_hz: Array
    """[n], NaN for frames that are left out."""
    utterances: NDArray[np.int64]
    """[n]"""
    fold: Fold

    @property
    def posable(self) -> bool:
        """Whether both sides have voiced frames."""
        return all(bool(np.isfinite(self.f0_hz[side[self.utterances]]).any()) for side in self.fold)

    def permuted(self, seed: int) -> Values:
        """The null: each utterance's values from another utterance."""
        keep, values = np.isfinite(self.f0_hz), self.f0_hz.copy()
        values[keep] = permute_labels(values[keep], self.utterances[keep], seed)
        return replace(self, f0_hz=values)

    def restricted(self, sample: NDArray[np.bool_]) -> Values:
        """The frames of the utterances where `sample` [utterances] is true."""
        return replace(self, f0_hz=np.where(sample[self.utterances], self.f0_hz, np.nan))


def pitch_measures(values: Values, source: Input, config: DepthConfig, seed: int) -> Iterator[Measure]:
    """R2 and mean absolute error of the linear probe, and of the one on rows of matched dimension."""
    null = values.permuted(derive_seed(seed, "null"))
    for name in ("linear", "matched"):
        found, reference = (_statistics(some, source, config, matched=name == "matched") for some in (values, null))
        resamples = draw_resamples(len(found.count), config.bootstrap.samples, derive_seed(seed, "bootstrap"))
        scores, nulls, draws = found.scores(), reference.scores(), found.scores(resamples)
        for metric in METRICS:
            estimate = interval(float(scores[metric][0]), draws[metric], config.bootstrap.confidence)
            yield Measure(name, metric, *estimate, float(nulls[metric][0]))


def _statistics(values: Values, source: Input, config: DepthConfig, *, matched: bool) -> ValueStatistics:
    """Statistics of the eval utterances that have voiced frames."""
    voiced = np.isfinite(values.f0_hz)
    train, held_out = (voiced & side[values.utterances] for side in values.fold)
    reader = source.reduced(train, config.matched_dims) if matched else source
    probe = reader.fit_values(np.where(train, values.f0_hz, np.nan))
    rows, true = np.unique(values.utterances[held_out], return_inverse=True)[1], values.f0_hz[held_out]
    predicted = np.asarray(reader.predict(probe, held_out), dtype=np.float64)
    return ValueStatistics.from_frames(rows, true, predicted, int(rows.max()) + 1, float(true.mean()))
