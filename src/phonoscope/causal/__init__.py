"""Causal tests of features during transcription: ablation, steering and patching, against controls."""
