"""`phonoscope diagnose-vq`: read a checkpoint and, if given, data; report what is wrong with its quantizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope.errors import DataError
from phonoscope.vq.diagnosis import Diagnosis, Observed, diagnose, observe_counts, observe_vectors
from phonoscope.vq.states import QuantizerState, load_tensors, read_state

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = {
    "codes": "codes",
    "perplexity_ema": "perplexity (EMA)",
    "perplexity_dataset": "perplexity (dataset)",
    "dead_ema": "dead (EMA)",
    "unused_dataset": "unused (dataset)",
    "duplicates": "duplicates",
    "code_norm_median": "code norm",
    "norm_over_centroid": "/ centroid",
    "norm_over_input": "/ input",
    "verdict": "verdict",
}


def diagnose_checkpoint(checkpoint: Path, data: Path | None = None) -> Diagnosis:
    """The verdict on a checkpoint's quantizer.

    data: a token table (.parquet with code_1, code_2, ...), or encoder outputs [N, D] (.npy, .safetensors).
    Raises: `DataError` naming the file that cannot be read, has an unknown layout, or does not fit.
    """
    tensors = load_tensors(checkpoint)
    state = _named(checkpoint, read_state, tensors)
    observed: list[Observed] = [] if data is None else _named(data, _observe, state, data)
    return diagnose(state, observed)


def _named(path: Path, function: Any, *arguments: Any) -> Any:
    """Call, and put the file's name before what is refused."""
    try:
        return function(*arguments)
    except DataError as error:
        message = str(error)
        raise DataError(message if message.startswith(str(path)) else f"{path}: {message}") from error


def _observe(state: QuantizerState, data: Path) -> list[Observed]:
    if not data.is_file():
        raise DataError("no such file of data")
    if data.suffix == ".parquet":
        return observe_counts(state, _count_codes(data))
    if data.suffix not in (".npy", ".safetensors"):
        raise DataError("data are a token table (.parquet) or encoder outputs (.npy, .safetensors)")
    return observe_vectors(state, _read_vectors(data))


def _count_codes(path: Path) -> list[Tensor]:
    """How often each code of each layer occurs in a token table, read batch by batch."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    try:
        with pq.ParquetFile(path) as file:
            names = [f"code_{layer}" for layer in range(1, len(file.schema_arrow.names) + 1)]
            columns = [name for name in names if name in file.schema_arrow.names]
            totals: list[Any] = [np.zeros(0, dtype=np.int64) for _ in columns]
            for batch in file.iter_batches(columns=columns):
                for index, name in enumerate(columns):
                    codes = batch.column(name).to_numpy(zero_copy_only=False)
                    totals[index] = _added(totals[index], np.bincount(codes, minlength=1))
    except (pa.ArrowInvalid, ValueError, TypeError) as error:
        raise DataError(f"not a table of tokens ({error})") from error
    if not columns or not totals[0].sum():
        raise DataError("not a table of tokens: it has no codes in columns code_1, code_2, ...")
    return [torch.from_numpy(total) for total in totals]


def _added(total: Any, counts: Any) -> Any:
    """The sum of two counts of different lengths."""
    import numpy as np

    length = max(len(total), len(counts))
    return np.pad(total, (0, length - len(total))) + np.pad(counts, (0, length - len(counts)))


def _read_vectors(path: Path) -> Tensor:
    """Encoder outputs [..., D] as [N, D]; those of train and eval of `phonoscope vq` together."""
    import numpy as np
    import torch

    if path.suffix == ".npy":
        try:
            parts = [torch.from_numpy(np.load(path))]
        except (ValueError, TypeError, EOFError) as error:
            raise DataError(f"not an array of numbers ({error})") from error
    else:
        tensors = load_tensors(path)
        if len(tensors) != 1 and tensors.keys() != {"train", "eval"}:
            raise DataError(f"there should be one tensor of encoder outputs, or train and eval, found {len(tensors)}")
        parts = list(tensors.values())
    for part in parts:
        if not part.is_floating_point() or part.ndim < 2 or part.shape[-1] != parts[0].shape[-1]:
            raise DataError(f"encoder outputs are floats [N, D], not {part.dtype} {list(part.shape)}")
    return torch.cat([part.flatten(0, -2) for part in parts])


def describe(diagnosis: Diagnosis) -> str:
    """The diagnosis as text: verdict, reasons, a table of the layers, what could not be judged."""
    import pandas as pd

    evidence = diagnosis.evidence
    table = pd.DataFrame(evidence["layers"]).set_index("layer")
    shown = table[[column for column in COLUMNS if column in table and bool(table[column].notna().any())]]
    lines = [f"{diagnosis.verdict}: {evidence['meaning']} (layout {evidence['layout']})", *evidence["reasons"]]
    lines += ["", shown.rename(columns=COLUMNS).to_string(float_format="{:.4g}".format, na_rep="-")]
    lines += [f"not judged - {part}" for part in evidence["not_judged"]]
    return "\n".join(line.rstrip() for text in lines for line in text.split("\n"))
