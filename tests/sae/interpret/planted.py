"""Frames with known structure: a detector of each phone, a feature of the female speakers, one of an accent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

PHONES = ("AA", "S", "T")
DETECTORS = {"AA": 0, "S": 1, "T": 2}
FEMALE, SCOTTISH, DEAD = 3, 4, 5
WIDTH = 12


@dataclass(frozen=True)
class Planted:
    activations: sp.csr_array
    index: pd.DataFrame

    @property
    def phone(self) -> NDArray[np.str_]:
        return self.index["phone"].to_numpy(dtype=str)


def plant(
    *,
    speakers: int = 8,
    utterances: int = 5,
    sexes: tuple[str, ...] = ("F", "M"),
    accents: tuple[str, ...] = ("rp", "sc"),
) -> Planted:
    """Utterances of SIL, S, AA, T, SIL with five frames each; the last utterance of every speaker is for eval."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(speakers):
        for take in range(utterances):
            phones = np.repeat(["SIL", "S", "AA", "T", "SIL"], 5)
            columns = {
                "utterance": f"s{number}-{take}",
                "frame": np.arange(25, dtype=np.int32),
                "phone": phones,
                "word": np.where(phones == "SIL", "", ("sat", "art")[take % 2]),
                "speaker": f"s{number}",
                "sex": sexes[number % len(sexes)],
                "accent": accents[number // 2 % len(accents)],
                "split": "eval" if take == utterances - 1 else "train",
            }
            rows.append(pd.DataFrame(columns))
    index = pd.concat(rows, ignore_index=True)
    noise = rng.random((len(index), WIDTH)) * (rng.random((len(index), WIDTH)) < 0.2)
    for phone, feature in DETECTORS.items():
        noise[:, feature] = np.where(index["phone"] == phone, 2 + noise[:, feature], 0.5 * noise[:, feature])
    noise[:, FEMALE] = 0.2 * noise[:, FEMALE] + (index["sex"] == "F")
    noise[:, SCOTTISH] = 0.2 * noise[:, SCOTTISH] + (index["accent"] == "sc")
    noise[:, DEAD] = 0
    for column in index.columns.drop("frame"):
        index[column] = index[column].astype("category")
    return Planted(sp.csr_array(noise.astype(np.float32)), index)
