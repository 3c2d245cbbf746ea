"""EnCodec's bandwidths and their numbers of codebooks."""

from __future__ import annotations

ENCODEC_CODEBOOKS = {1.5: 2, 3.0: 4, 6.0: 8, 12.0: 16, 24.0: 32}
"""Codebooks by bandwidth in kbps at 24 kHz: 75 frames a second of 10 bits each (Défossez et al., 2022, section 3.2)."""


def encodec_codebooks(bandwidth_kbps: float, codebooks: int | None = None) -> int:
    """Number of codebooks of a bandwidth. Raises `ValueError` if EnCodec lacks it, or it has fewer than `codebooks`."""
    if bandwidth_kbps not in ENCODEC_CODEBOOKS:
        there = ", ".join(f"{kbps:g}" for kbps in ENCODEC_CODEBOOKS)
        raise ValueError(f"EnCodec has no bandwidth of {bandwidth_kbps:g} kbps; there are {there}")
    held = ENCODEC_CODEBOOKS[bandwidth_kbps]
    if codebooks is not None and codebooks > held:
        need = next(
            (f"{kbps:g} kbps" for kbps, n in ENCODEC_CODEBOOKS.items() if n >= codebooks), "more than EnCodec has"
        )
        raise ValueError(f"{bandwidth_kbps:g} kbps holds {held} codebooks, not {codebooks}; that takes {need}")
    return held
