"""Corpora: sources of speech, and how they become utterances with a manifest."""
