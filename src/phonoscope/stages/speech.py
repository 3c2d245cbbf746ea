"""What several stages read: the aligned utterances of the corpus, their audio and the split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.audio import read_audio, resample
from phonoscope.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def read_manifest() -> pd.DataFrame:
    """The manifest of the utterances that were aligned, in its own order."""
    import pandas as pd

    for path, stage in ((paths.MANIFEST, "corpus"), (paths.F0_TRACKS, "align")):
        if not path.exists():
            raise DataError(f"{path}: no such file; run `dvc repro {stage}`")
    aligned = pd.read_parquet(paths.F0_TRACKS, columns=["utterance"])["utterance"].unique()
    manifest = pd.read_parquet(paths.MANIFEST)
    return manifest[manifest["utterance"].isin(aligned)].reset_index(drop=True)


def read_split() -> dict[str, list[str]]:
    """The utterance ids of `train` and `eval`."""
    try:
        return json.loads(paths.SPLIT.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{paths.SPLIT}: no such file; run `dvc repro split`") from error


def waveforms(manifest: pd.DataFrame, utterances: Sequence[str], sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """The audio of these utterances, [T] each, at one rate. Ids that were not aligned are passed over."""
    rows = manifest.set_index("utterance")
    found: list[Any] = [rows.loc[name] for name in utterances if name in rows.index]
    return [
        resample(read_audio(paths.CORPUS / row["path"])[0], int(row["sample_rate"]), sample_rate_hz) for row in found
    ]
