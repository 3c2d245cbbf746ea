"""Praat TextGrids with the tiers `words` and `phones`, read and written through praatio."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from phonoscope.alignment.intervals import check_intervals, fill_gaps, relabel
from phonoscope.config.alignment import Stress
from phonoscope.data.labels import Alignment, Interval
from phonoscope.data.phones import SILENCE_NAMES, normalise_phone
from phonoscope.errors import DataError
from phonoscope.files import atomic_file

_DECIMALS = 6  # a microsecond; shorter than any sample
_NEGATIVE = re.compile(r"(?:xmin|xmax|number) ?= ?(-[\d.]*[1-9])")
_TIERS = re.compile(r"<exists>\s*(?:size ?=)?\s*(\d+)")
_ENTRIES = re.compile(  # in the long text format, and in the short one
    r"(?:intervals|points): size ?= ?(\d+)|\"(?:IntervalTier|TextTier)\"\n\".*\"\n\S+\s*\n\S+\s*\n(\d+)"
)


def read_textgrid(path: Path, duration_s: float | None = None, stress: Stress = "strip") -> Alignment:
    """Read the tiers `words` (may be missing) and `phones`, in any case, also as `<speaker> - phones` (one speaker).

    Labels become ARPABET phones and `SIL`, gaps `SIL`. `duration_s` is the audio's length, by default the grid's end.
    Raises: `DataError` naming the file and the reason: not a TextGrid, no or two phones tiers, an unknown phone, or
    intervals that are reversed, negative, overlap or leave the utterance.
    """
    try:
        grid = _parse(path)
        end_s = float(grid["xmax"]) if duration_s is None else duration_s
        phones = relabel(_tier(grid, "phones"), lambda label: normalise_phone(label, stress))
        words = [interval for interval in _tier(grid, "words") if interval.label.lower() not in SILENCE_NAMES]
        if not phones:
            raise DataError("no intervals in a tier 'phones'")
        return Alignment(check_intervals(words, end_s), fill_gaps(check_intervals(phones, end_s), end_s))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _parse(path: Path) -> dict[str, Any]:
    """The TextGrid as praatio's plain dictionary: praatio's classes refuse some faults without their place."""
    from praatio.utilities.textgrid_io import parseTextgridStr

    try:
        raw = path.read_bytes()
        encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = raw.decode(encoding).replace("\r\n", "\n")
        grid: dict[str, Any] = parseTextgridStr(text, includeEmptyIntervals=True)
        _check_whole(text, grid)
    except FileNotFoundError as error:
        raise DataError("no such file") from error
    except DataError:
        raise
    except Exception as error:  # praatio raises whatever its parser raises
        raise DataError(f"not a readable TextGrid ({type(error).__name__}: {error})") from error
    return grid


def _check_whole(text: str, grid: dict[str, Any]) -> None:
    """Refuse two faults that praatio accepts: negative times (it drops the sign), files cut off between entries."""
    if negative := _NEGATIVE.search(text):
        raise DataError(f"the time {negative[1]} starts before 0")
    declared = [int(_TIERS.findall(text)[0]), sum(int(a or b) for a, b in _ENTRIES.findall(text))]
    present = [len(grid["tiers"]), sum(len(tier["entries"]) for tier in grid["tiers"])]
    if declared != present:
        tiers, intervals = (f"{there} of {said}" for there, said in zip(present, declared, strict=True))
        raise DataError(f"cut off: {tiers} tiers and {intervals} intervals are there")


def _tier(grid: dict[str, Any], name: str) -> list[Interval]:
    named = re.compile(rf"(.* - )?{name}", re.IGNORECASE | re.DOTALL)
    every = [tier for tier in grid["tiers"] if tier["class"] == "IntervalTier"]
    tiers = [tier for tier in every if named.fullmatch(tier["name"].strip())]
    if len(tiers) > 1:
        raise DataError(f"{len(tiers)} tiers are named {name!r}; leave one speaker's")
    try:
        return [Interval(float(s), float(e), label.strip()) for tier in tiers for s, e, label in tier["entries"]]
    except ValueError as error:
        raise DataError(f"a time in tier {name!r} is not a number ({error})") from error


def write_textgrid(path: Path, alignment: Alignment, duration_s: float) -> None:
    """Write both tiers in Praat's long text format, times rounded to microseconds."""
    from praatio.data_classes.interval_tier import IntervalTier
    from praatio.data_classes.textgrid import Textgrid

    grid = Textgrid()
    end_s = round(duration_s, _DECIMALS)
    for name, intervals in (("words", alignment.words), ("phones", alignment.phones)):
        rounded = [(round(i.start_s, _DECIMALS), min(round(i.end_s, _DECIMALS), end_s), i.label) for i in intervals]
        grid.addTier(IntervalTier(name, rounded, 0.0, end_s))
    with atomic_file(path) as temporary:
        grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True)


def find_textgrids(root: Path) -> dict[str, Path]:
    """Every TextGrid below `root` by utterance id, its file name without suffix. `DataError` if two have one id."""
    files: dict[str, Path] = {}
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() == ".textgrid"):
        if path.stem in files:
            raise DataError(f"{files[path.stem]} and {path} are both for utterance {path.stem!r}; remove one")
        files[path.stem] = path
    return files
