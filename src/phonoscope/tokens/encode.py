"""The token table: one row a frame, with its labels and codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray


class Labels(Protocol):
    """What is known of an utterance's frames."""

    def phones(self, utterance: str, n_frames: int, frame_rate_hz: float) -> Sequence[str]:
        """A phone a frame."""

    def f0_hz(self, utterance: str, n_frames: int, frame_rate_hz: float) -> NDArray[np.float32]:
        """F0 at the centre of every frame, NaN where unvoiced."""


@dataclass(frozen=True)
class EncodedUtterance:
    """One utterance's codes, [L, F] int16."""

    utterance: str
    codes: NDArray[np.int16]


def token_schema(n_layers: int) -> pa.Schema:
    """Columns of tokens.parquet, one row a frame."""
    import pyarrow as pa

    return pa.schema(
        [
            ("utterance", pa.dictionary(pa.int32(), pa.string())),
            ("frame", pa.int32()),
            ("phone", pa.dictionary(pa.int32(), pa.string())),
            ("f0_hz", pa.float32()),
            *((f"code_{layer}", pa.int16()) for layer in range(1, n_layers + 1)),
        ]
    )


def token_table(encoded: EncodedUtterance, labels: Labels, frame_rate_hz: float) -> pa.Table:
    """The rows of one utterance."""
    import pyarrow as pa

    n_layers, n_frames = encoded.codes.shape
    columns: dict[str, Any] = {
        "utterance": [encoded.utterance] * n_frames,
        "frame": np.arange(n_frames, dtype=np.int32),
        "phone": list(labels.phones(encoded.utterance, n_frames, frame_rate_hz)),
        "f0_hz": labels.f0_hz(encoded.utterance, n_frames, frame_rate_hz),
    }
    columns |= {f"code_{layer + 1}": encoded.codes[layer] for layer in range(n_layers)}
    return pa.Table.from_pydict(columns, schema=token_schema(n_layers))


def latent_table(latents: Mapping[str, NDArray[np.float32]]) -> pa.Table:
    """The time-mean of each utterance's continuous latent [D, F]: columns utterance and latent, D float32 a row.

    An utterance without a frame has no mean, and no row.
    """
    import pyarrow as pa

    means = {name: latent.mean(axis=1, dtype=np.float64) for name, latent in latents.items() if latent.size}
    dims = next((len(latent) for latent in latents.values()), 0)
    values = np.concatenate([np.zeros(0), *means.values()]).astype(np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(values), dims)
    return pa.table({"utterance": pa.array(list(means), pa.string()), "latent": rows})


def code_usage(table: pa.Table, layers: int, size: int) -> NDArray[np.int64]:
    """How often each code of each layer stands in a token table, [layers, size]."""
    columns = (table[f"code_{layer}"].to_numpy() for layer in range(1, layers + 1))
    return np.stack([np.bincount(codes, minlength=size) for codes in columns])


def code_statistics(counts: NDArray[np.int64]) -> pd.DataFrame:
    """Perplexity, normalised entropy and used codes of every layer over the whole set; counts [L, K]."""
    import pandas as pd
    from scipy.stats import entropy

    nats = np.asarray(entropy(counts, axis=1))
    size = counts.shape[1]
    rows = []
    for index in range(len(counts)):
        values = {
            "perplexity": float(np.exp(nats[index])),
            "normalised_entropy": float(nats[index] / np.log(size)),
            "used_codes": float((counts[index] > 0).sum()),
        }
        rows += [
            {"layer": index + 1, "metric": name, "value": value, "n": int(counts[index].sum())}
            for name, value in values.items()
        ]
    return pd.DataFrame(rows)


def spread(items: Sequence[str], count: int) -> list[str]:
    """At most `count` of the items, at even distances from the first to the last."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]
