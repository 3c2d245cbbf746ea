"""Interpretation of features: windows, selectivity, group means and effect sizes."""

from phonoscope.config.interpret import InterpretConfig
from phonoscope.sae.interpret.compare import compare
from phonoscope.sae.interpret.detectors import phone_detectors
from phonoscope.sae.interpret.run import Interpretation, interpret, spread_utterances

__all__ = ["InterpretConfig", "Interpretation", "compare", "interpret", "phone_detectors", "spread_utterances"]
