"""Sparse autoencoders of activations: training, scores, and files that SAELens opens.

`phonoscope.sae.interpret` has what the features detect; nothing here imports it, so that its edits retrain no model.
"""

from phonoscope.config.sae import SaeConfig
from phonoscope.sae.data import Frames
from phonoscope.sae.fit import Fitted, train_sae
from phonoscope.sae.metrics import activations
from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.store import load_sae, save_sae

__all__ = ["Fitted", "Frames", "SaeConfig", "SparseAutoencoder", "activations", "load_sae", "save_sae", "train_sae"]
