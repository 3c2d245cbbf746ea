"""The form of params.yaml: DVC rewrites it with `-S`, and people read its comments."""

import difflib
import re
import shutil
from pathlib import Path

import pytest

from phonoscope import paths

FILE = Path(__file__).parents[2] / paths.PARAMS
PARAMETER = re.compile(r"\s*(?P<key>\w+):(?P<value>[^#]*)(?P<comment>#.*)?")


def section(lines: list[str], number: int) -> str:
    """The top-level section that a line belongs to."""
    return next(line for line in reversed(lines[: number + 1]) if re.match(r"\w", line)).partition(":")[0]


def test_every_parameter_has_a_comment() -> None:
    """The codecs share the comment above their section, which explains each of their keys."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        match = PARAMETER.fullmatch(line)
        if match is None or match["comment"]:
            continue
        if section(lines, number) == "codecs" and match["value"].strip():
            assert any(other.startswith(f"#   {match['key']} ") for other in lines), line
        else:
            is_section = not match["value"].strip() and not lines[number + 1].lstrip().startswith("- ")
            assert is_section, f"no comment: {line}"


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("probe.classifier.C=0.1", 1),
        ("corpus.subset=dev-clean", 1),
        ("corpus.words=[yes,no]", 3),
        ("maps.layers=[1,2,4]", 1),
        ("encoder.arms=[summed]", 5),
        ("sae.kind=topk", 1),
        ("~codecs.dac", 6),
    ],
)
def test_an_override_changes_only_its_own_lines(tmp_path: Path, override: str, changed: int) -> None:
    """DVC writes params.yaml anew; a file in another style would lose its comments and lists."""
    from dvc.utils.hydra import apply_overrides

    copy = tmp_path / FILE.name
    shutil.copy(FILE, copy)
    apply_overrides(copy, [override])
    before, after = (path.read_text(encoding="utf-8").splitlines() for path in (FILE, copy))
    blocks = [block for block in difflib.SequenceMatcher(None, before, after).get_opcodes() if block[0] != "equal"]
    assert sum(max(i2 - i1, j2 - j1) for _, i1, i2, j1, j2 in blocks) == changed
    assert [line for line in before if line.startswith("#")] == [line for line in after if line.startswith("#")]
