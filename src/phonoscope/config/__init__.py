"""Sections of params.yaml, one file each."""
