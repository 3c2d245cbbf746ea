"""Phones by manner of articulation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vowel": ("IY", "IH", "EY", "EH", "AE", "AA", "AO", "OW", "UH", "UW", "AH", "ER", "AY", "AW", "OY"),
        "approximant": ("L", "R", "W", "Y"),
        "nasal": ("M", "N", "NG"),
        "stop": ("P", "B", "T", "D", "K", "G"),
        "affricate": ("CH", "JH"),
        "fricative": ("F", "V", "TH", "DH", "S", "Z", "SH", "ZH", "HH"),
        "silence": ("SIL",),
    }
)
"""ARPABET by group, in the order of the figures."""
OTHER = "other"
_GROUP = {phone: group for group, phones in GROUPS.items() for phone in phones}
_ORDER = {phone: rank for rank, phone in enumerate(_GROUP)}


def phone_group(phone: str) -> str:
    """The group of an ARPABET phone, with or without stress digit; `other` for any other name."""
    return _GROUP.get(phone.rstrip("012"), OTHER)


def phone_order(phone: str) -> tuple[int, str]:
    """Sorts phones by group, unknown names last."""
    return _ORDER.get(phone.rstrip("012"), len(_ORDER)), phone
