"""Sparse autoencoders of activations: training, scores, files that SAELens opens, and what their features detect."""

from phonoscope.config.sae import SaeConfig
from phonoscope.sae.data import Frames
from phonoscope.sae.fit import Fitted, train_sae
from phonoscope.sae.interpret.detectors import phone_detectors
from phonoscope.sae.metrics import activations
from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.store import load_sae, save_sae

__all__ = [
    "Fitted",
    "Frames",
    "SaeConfig",
    "SparseAutoencoder",
    "activations",
    "load_sae",
    "phone_detectors",
    "save_sae",
    "train_sae",
]
