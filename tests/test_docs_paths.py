"""What README and docs name exists: paths (in git or as an output of the pipeline), links, commands, parameters."""

import fnmatch
import re
import subprocess
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from phonoscope import paths
from phonoscope.config.params import load_params

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "src|tests|docs|data|models|metrics|plots|corpora|benchmarks|tools|.ci"
PATH = re.compile(rf"(?<![\w/.-])(?:{FOLDERS.replace('.', r'[.]')})/[\w./<>*…{{}},@-]*")
FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<content>.*?)^ *```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?<![\w/.-])(?P<program>phonoscope|make) (?P<command>[a-z][a-z-]+)")
OVERRIDE = re.compile(r"-S '?~?(?P<key>[a-z][\w.]*)")
LINK = re.compile(r"\]\((?!https?://)(?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@cache
def known() -> frozenset[str]:
    """Files of git and outputs of the pipeline, with all folders above them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = {path for path in listed.stdout.splitlines() if (ROOT / path).exists()} | outputs_of_stages()
    return frozenset(paths | {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents})


@cache
def outputs_of_stages() -> frozenset[str]:
    """Folders that a stage writes as a whole; DVC does not list what is in them."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        return frozenset(Path(out.fs_path).relative_to(ROOT).as_posix() for out in repo.index.outs)


def exists(path: str) -> bool:
    """Whether a path is known or lies in an output; `<...>`, `*`, `…` and `{a,b}` stand for any text."""
    pattern = re.sub(r"<[^>]*>|…|\{[^}]*\}", "*", path).rstrip("/.,")
    parts = PurePosixPath(pattern).parts
    above = ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]
    return bool(fnmatch.filter(known(), pattern)) or any(
        "." not in PurePosixPath(output).name and fnmatch.fnmatch(output, part)
        for part in above
        for output in outputs_of_stages()
        if output.count("/") == part.count("/")
    )


def code_of(page: str) -> list[str]:
    """Code spans, and the fences that are no program."""
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", page))
    return [*spans, *(block["content"] for block in FENCE.finditer(page) if block["language"] in ("", "bash"))]


def paths_of(page: str) -> list[str]:
    return [path for text in code_of(page) for path in PATH.findall(text) if "=" not in path]


def anchors_of(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_path_exists(page: Path) -> None:
    assert [path for path in paths_of(page.read_text(encoding="utf-8")) if not exists(path)] == []


def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = page.parent / link["target"] if link["target"] else page
        assert target.exists(), link[0]
        if link["anchor"] and target.suffix == ".md":
            assert link["anchor"] in anchors_of(target), link[0]


def test_every_command_exists(page: Path) -> None:
    from typer.main import get_group

    from phonoscope.cli import app

    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = {"phonoscope": set(get_group(app).commands), "make": set(targets)}
    named = [match for text in code_of(page.read_text(encoding="utf-8")) for match in COMMAND.finditer(text)]
    assert [match[0] for match in named if match["command"] not in commands[match["program"]]] == []


def test_every_parameter_exists(page: Path) -> None:
    params = load_params(ROOT / paths.PARAMS)
    for text in code_of(page.read_text(encoding="utf-8")):
        for key in OVERRIDE.findall(text):
            params.at(key)  # raises if there is none


def test_a_wrong_path_is_noticed() -> None:
    page = "See `src/phonoscope/no_such.py`, `metrics/probes/<codec>.csv` and `data/tokens/dac/tokens.parquet`."
    assert [path for path in paths_of(page) if not exists(path)] == ["src/phonoscope/no_such.py"]
