"""A site's autoencoder beside what it has to beat, and beside trainings of its own from other seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from phonoscope.config.interpret import InterpretConfig
from phonoscope.sae.interpret.baselines import baselines
from phonoscope.sae.interpret.stability import stability
from phonoscope.sae.metrics import activations
from phonoscope.sae.models import SparseAutoencoder

JUDGED, UNTRAINED = "sparse autoencoder", "untrained sparse autoencoder"


class Comparison(NamedTuple):
    """Tables of one site; docs/sae.md describes them."""

    baselines: pd.DataFrame  # representation, dims, phones_scored, phones_above, mean_auroc
    sparse: pd.DataFrame  # representation, phones, k, mean_auroc
    stability: pd.DataFrame  # seed, features, rows_07, rows_09, detectors, detectors_07: a row a further training


def compare(
    model: SparseAutoencoder,
    fired: sp.csr_array,
    start: SparseAutoencoder,
    others: Mapping[int, SparseAutoencoder],
    inputs: NDArray[Any],
    index: pd.DataFrame,
    phones: pd.DataFrame,
    config: InterpretConfig,
) -> Comparison:
    """Compare a model with its baselines and with further trainings.

    Args:
        model, fired: the model, and its activations [frames, features].
        start: the model before its training.
        others: further trainings, by their seed.
        inputs, index: the frames, as `baselines` takes them.
        phones: the model's detectors; columns feature and scored.
    """
    again = {seed: activations(other, inputs) for seed, other in others.items()}
    alike = {f"{JUDGED}, seed {seed}": values for seed, values in again.items()}
    settings: dict[str, Any] = {"fewest": config.min_segments, "seed": config.seed, "silence": config.silence}
    named = {JUDGED: fired, **alike, UNTRAINED: activations(start, inputs)}
    held_out, detectors = (index["split"] == "eval").to_numpy(), phones.loc[phones["scored"], "feature"].unique()
    decoder, rows = model.W_dec.cpu().numpy(), []
    for seed, values in again.items():
        decoders = decoder, others[seed].W_dec.cpu().numpy()
        shares = stability(decoders, (fired[held_out], values[held_out]), detectors)
        rows.append({"seed": seed, "features": fired.shape[1], "detectors": len(detectors)} | shares)
    columns = ["seed", "features", "rows_07", "rows_09", "detectors", "detectors_07"]
    return Comparison(*baselines(inputs, named, index, **settings), pd.DataFrame(rows, columns=columns))
