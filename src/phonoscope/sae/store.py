"""A trained model as a folder that SAELens opens: cfg.json and sae_weights.safetensors.

Format: SAELens 6, `SAE.load_from_disk`. W_enc is [d_in, d_sae], W_dec [d_sae, d_out]. SAELens knows autoencoders of all
kinds, and transcoders except TopK's; it does not know crosscoders.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phonoscope.errors import DataError, ParamsError
from phonoscope.files import read_safetensors, write_json, write_safetensors
from phonoscope.sae.models import SaeShape, SparseAutoencoder

WEIGHTS, CONFIG = "sae_weights.safetensors", "cfg.json"
SHARED, OWN = ("d_in", "d_out", "d_sae", "k"), ("form", "kind", "options", "layers", "skip")
"""Fields of the shape that SAELens has a name for; those that it has none for are part of the metadata."""


def save_sae(model: SparseAutoencoder, folder: Path, metadata: dict[str, Any]) -> None:
    """Write a model into a folder; `metadata` (hook_name, model_name, training...) is added to cfg.json's."""
    shape = model.shape.model_dump(mode="json")
    config = {
        "architecture": _architecture(model),
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": model.shape.form != "transcoder",
        "normalize_activations": "none",  # scales are folded into the weights
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.0.0", **{name: shape[name] for name in OWN}, **metadata},
    }
    write_safetensors(folder / WEIGHTS, _weights(model), {})
    write_json(folder / CONFIG, config | {name: shape[name] for name in SHARED})


def _architecture(model: SparseAutoencoder) -> str:
    name, form = model.kind.architecture, model.shape.form
    if form != "transcoder":
        return name if form == "autoencoder" else f"{name}_{form}"
    parts = ("" if name == "standard" else name, "skip" if model.shape.skip else "", form)
    return "_".join(filter(None, parts))


def _weights(model: SparseAutoencoder) -> dict[str, Tensor]:
    """Weights by their names in the file; a transcoder's input bias is folded into b_enc and b_dec."""
    b_enc, b_dec = model.b_enc.detach(), model.b_dec.detach()
    if model.shape.form == "transcoder":
        b_enc = b_enc - model.encoder.detach() @ model.input_bias
    weights = {"W_enc": model.W_enc.detach().contiguous(), "b_enc": b_enc, "W_dec": model.W_dec.detach()}
    if model.W_skip is not None:
        b_dec = b_dec - model.W_skip.detach() @ model.input_bias
        weights["W_skip"] = model.W_skip.detach()
    if model.kind.architecture == "jumprelu":
        weights["threshold"] = model.threshold.detach()
    return weights | {"b_dec": b_dec}


def load_sae(folder: Path, device: torch.device | str = "cpu") -> SparseAutoencoder:
    """Read a model for inference: frozen, in the data's units. Raises `DataError` if the folder has no sound model."""
    weights, _ = read_safetensors(folder / WEIGHTS)
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        shape = {name: content[name] for name in SHARED}
        model = SparseAutoencoder(SaeShape.model_validate(shape | {name: content["metadata"][name] for name in OWN}))
        state = {"encoder" if name == "W_enc" else name: tensor for name, tensor in weights.items()}
        state["encoder"] = state["encoder"].T
        missing, unexpected = model.load_state_dict(state, strict=False)
        wrong = [*(name for name in missing if name not in ("b_in", "threshold")), *unexpected]
        if wrong or ("threshold" in weights) != (model.kind.architecture == "jumprelu"):
            raise ValueError(f"the weights are {', '.join(weights)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ParamsError) as error:
        raise DataError(f"{folder}: no sparse autoencoder ({' '.join(str(error).split())})") from error
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise DataError(f"{folder}: a weight is not finite")
    return model.to(device).eval().requires_grad_(False)
