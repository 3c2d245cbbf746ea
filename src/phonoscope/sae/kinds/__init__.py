"""Kinds of sparse autoencoders, one file each: what a kind adds to the common model and training loop."""

from phonoscope.sae.kinds.base import Kind, build_kind, kinds, register

__all__ = ["Kind", "build_kind", "kinds", "register"]
