"""Loads a model with SAELens and writes what it computes; run as a script by the Python that has that package."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from sae_lens import SAE

with torch.no_grad():
    for folder in map(Path, sys.argv[1:]):
        sae = SAE.load_from_disk(folder)
        activations = sae.encode(torch.from_numpy(np.load(folder / "x.npy")))
        np.savez(folder / "saelens.npz", activations=activations, output=sae.decode(activations))
