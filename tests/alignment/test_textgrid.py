from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid as praat

from phonoscope.alignment.textgrid import find_textgrids, read_textgrid, write_textgrid
from phonoscope.data.labels import Alignment, Interval
from phonoscope.data.phones import PHONES
from phonoscope.errors import DataError
from tests.bytes import damaged

HELLO = Alignment(
    words=[Interval(0.1, 0.5, "hello")],
    phones=[
        *(Interval(0.0, 0.1, "SIL"), Interval(0.1, 0.2, "HH"), Interval(0.2, 0.25, "AH")),
        *(Interval(0.25, 0.3, "L"), Interval(0.3, 0.5, "OW"), Interval(0.5, 0.75, "SIL")),
    ],
)


def grid(*tiers: tuple[str, list[tuple[float | str, float | str, str]]], xmax: float = 0.75) -> str:
    """A TextGrid in the long format, as the Montreal Forced Aligner writes it."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {xmax}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers, 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {xmax}", f"        intervals: size = {len(intervals)}"]
        for index, (start, end, text) in enumerate(intervals, 1):
            lines += [f"        intervals [{index}]:", f"            xmin = {start}", f"            xmax = {end}"]
            lines += [f'            text = "{text}"']
    return "\n".join(lines) + "\n"


Tier = list[tuple[float | str, float | str, str]]
PHONES_TIER: Tier = [
    *((0, 0.1, ""), (0.1, 0.2, "HH"), (0.2, 0.25, "AH0"), (0.25, 0.3, "L"), (0.3, 0.5, "OW1"), (0.5, 0.75, "sp"))
]
WORDS_TIER: Tier = [(0, 0.1, ""), (0.1, 0.5, "hello"), (0.5, 0.75, "")]
WHOLE = grid(("words", WORDS_TIER), ("phones", PHONES_TIER))


def test_what_is_written_is_read_back_also_by_praatio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "speaker" / "a.TextGrid"
    write_textgrid(path, HELLO, 0.75)
    assert read_textgrid(path, 0.75) == HELLO
    first = path.read_bytes()
    write_textgrid(path, HELLO, 0.75)
    assert path.read_bytes() == first
    theirs = praat.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="error")
    assert theirs.tierNames == ("words", "phones")
    for name in theirs.tierNames:
        assert [tuple(entry) for entry in theirs.getTier(name).entries] == [tuple(i) for i in getattr(HELLO, name)]
    assert theirs.maxTimestamp == 0.75
    write_textgrid(path, HELLO, 0.749987)  # resampled for the aligner, an utterance may be a part of a sample longer
    assert read_textgrid(path).phones[-1] == Interval(0.5, 0.749987, "SIL")
    assert capsys.readouterr().out == ""


@given(st.lists(st.tuples(st.floats(1e-4, 2.0), st.sampled_from(PHONES)), min_size=1, max_size=30))
@settings(max_examples=50)
def test_any_alignment_survives_to_the_microsecond(
    tmp_path_factory: pytest.TempPathFactory, phones: list[tuple[float, str]]
) -> None:
    intervals, at = [], 0.0
    for length_s, phone in phones:
        intervals.append(Interval(at, at + length_s, phone))
        at += length_s
    path = tmp_path_factory.mktemp("grid") / "a.TextGrid"
    write_textgrid(path, Alignment([], intervals), at)
    back = read_textgrid(path, at).phones
    assert [i.label for i in back if i.label != "SIL"] == [i.label for i in intervals]
    for ours, theirs in zip((i for i in back if i.label != "SIL"), intervals, strict=True):
        assert ours[:2] == pytest.approx(theirs[:2], abs=1e-6)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("names", [("words", "phones"), ("Words", "PHONES"), ("ann - words", "ann - phones")])
def test_montreal_forced_aligner(tmp_path: Path, encoding: str, names: tuple[str, str]) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(grid((names[0], WORDS_TIER), (names[1], PHONES_TIER)), encoding=encoding)
    assert read_textgrid(path) == HELLO
    kept = read_textgrid(path, stress="keep")
    assert [i.label for i in kept.phones] == ["SIL", "HH", "AH0", "L", "OW1", "SIL"]


def test_short_format_and_windows_line_ends(tmp_path: Path) -> None:
    path, long = tmp_path / "a.TextGrid", tmp_path / "long.TextGrid"
    long.write_text(WHOLE)
    praat.openTextgrid(str(long), includeEmptyIntervals=True).save(str(path), "short_textgrid", True)
    assert read_textgrid(path) == HELLO
    path.write_bytes(long.read_bytes().replace(b"\n", b"\r\n"))
    assert read_textgrid(path) == HELLO


def test_no_words_and_gaps_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(grid(("phones", [(0.1, 0.2, "HH"), (0.3, 0.4, "spn")])))
    phones = [Interval(0.0, 0.1, "SIL"), Interval(0.1, 0.2, "HH"), Interval(0.2, 0.5, "SIL")]
    assert read_textgrid(path, 0.5) == Alignment([], phones)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        *(("", "not a readable TextGrid"), ("hello", "not a readable TextGrid")),
        *((grid(tier), "no intervals in a tier 'phones'") for tier in (("words", WORDS_TIER), ("phones", []))),
        (grid(("a - phones", PHONES_TIER), ("b - phones", PHONES_TIER)), "2 tiers are named 'phones'"),
        (grid(("phones", [(0, 0.3, "HH"), (0.2, 0.4, "AH0")])), "overlap"),
        (grid(("words", [(0, 0.3, "a"), (0.2, 0.4, "b")]), ("phones", PHONES_TIER)), "overlap"),
        (grid(("phones", [(0.4, 0.3, "HH")])), "reversed"),
        (grid(("phones", [("-0.2", 0.3, "HH")])), "starts before 0"),
        (grid(("phones", [(0.4, 3.0, "HH")])), "ends after the utterance"),
        *((grid(("phones", [(start, 0.3, "HH")])), "not a readable TextGrid") for start in ("x", "nan")),
        (grid(("phones", [(0, 0.3, "ɹ")])), "'ɹ' is not an ARPABET phone"),
    ],
)
def test_broken_files_name_file_and_reason(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "broken.TextGrid"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=rf"broken\.TextGrid: .*({reason})"):
        read_textgrid(path, 0.75)


def test_truncated_and_binary_files(tmp_path: Path) -> None:
    path = tmp_path / "broken.TextGrid"
    write_textgrid(path, HELLO, 0.75)
    praat.openTextgrid(str(path), includeEmptyIntervals=True).save(str(path), "short_textgrid", True)
    for content in (path.read_bytes()[:-60], b"\xff\xfe\x00", b"\x00\x80\x81"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.TextGrid: "):
            read_textgrid(path)
    with pytest.raises(DataError, match=r"absent\.TextGrid: no such file"):
        read_textgrid(tmp_path / "absent.TextGrid")


@given(cut=st.integers(0, len(WHOLE) - 4))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.TextGrid"
    path.write_text(WHOLE[:cut], encoding="utf-8")
    with pytest.raises(DataError):
        read_textgrid(path)


@given(data=st.data(), encoding=st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "latin-1"]))
@settings(max_examples=100, deadline=None)
def test_changed_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, encoding: str
) -> None:
    """Never another exception than our own."""
    path = tmp_path_factory.getbasetemp() / "changed.TextGrid"
    path.write_bytes(data.draw(damaged(WHOLE.encode(encoding))))
    with suppress(DataError):
        assert read_textgrid(path).phones[0].start_s == 0


def test_find_textgrids(tmp_path: Path) -> None:
    for name in ("a/b/x.TextGrid", "y.textgrid", "z.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_textgrids(tmp_path) == {"x": tmp_path / "a/b/x.TextGrid", "y": tmp_path / "y.textgrid"}
    (tmp_path / "x.TextGrid").touch()
    with pytest.raises(DataError, match="both for utterance 'x'"):
        find_textgrids(tmp_path)
