"""A trained model as a folder: sae.safetensors and config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from phonoscope.errors import DataError
from phonoscope.files import read_safetensors, write_json, write_safetensors
from phonoscope.sae.models import SaeShape, SparseAutoencoder

WEIGHTS, CONFIG = "sae.safetensors", "config.json"


def save_sae(model: SparseAutoencoder, folder: Path, notes: dict[str, Any]) -> None:
    """Write a model into a folder; `notes` on its training stand in config.json under `training`."""
    tensors = dict(model.state_dict())
    tensors["input_bias"] = tensors["input_bias"].clone()  # an autoencoder's is its decoder's
    write_safetensors(folder / WEIGHTS, tensors, {})
    write_json(folder / CONFIG, {**model.config.model_dump(mode="json"), "training": notes})


def load_sae(folder: Path, device: torch.device | str = "cpu") -> SparseAutoencoder:
    """Read a model for inference: frozen, in the features' own units. Raises `DataError` if the folder holds none."""
    tensors, _ = read_safetensors(folder / WEIGHTS)
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        content.pop("training", None)
        model = SparseAutoencoder(SaeShape.model_validate(content))
        model.load_state_dict(tensors)
    except (OSError, ValueError, AttributeError, ValidationError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{folder}: no sparse autoencoder ({reason}); rebuild it with `dvc repro --force`") from error
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise DataError(f"{folder}: a weight is not finite; rebuild it with `dvc repro --force`")
    return model.to(device).eval().requires_grad_(False)
