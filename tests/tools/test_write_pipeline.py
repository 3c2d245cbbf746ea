"""dvc.yaml from the code of a small package."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from phonoscope.config.params import Params
from phonoscope.pipeline.base import Stage, StageReport
from tests.test_architecture import PARAMS
from tools import imports
from tools.imports import Imports
from tools.write_pipeline import written

MODULES = {
    "__init__": "",
    "files": "",
    "unused": "",
    "cli": "import pkg.unused",
    "pipeline/__init__": "",
    "pipeline/base": "import pkg.unused",
    "pipeline/probe": """
        from typing import TYPE_CHECKING
        from pkg.pipeline.base import stage
        if TYPE_CHECKING:
            from pkg.kinds.one import One
        def run():
            from pkg.probes.fit import fit
        """,
    "probes/__init__": "",
    "probes/fit": "import pkg.registry, pkg.codecs.adapter",
    "probes/other": "import pkg.files",
    "registry": "import pkgutil\nfrom pkg import kinds\npkgutil.iter_modules(kinds.__path__)",
    "kinds/__init__": "",
    "kinds/one": "import pkg.files",
    "codecs/__init__": "",
    "codecs/adapter": "",
    "codecs/unused": "",
    "probes/page/__init__": "",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imports:
    root = tmp_path / "src" / "pkg"
    for name, text in MODULES.items():
        file = (root / name).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
    (root / "codecs" / "weights.bin").touch()
    (root / "probes" / "page" / "index.html").touch()
    monkeypatch.setattr("tools.write_pipeline.ROOT", tmp_path)
    # the stage's line is its module's docstring
    monkeypatch.setitem(sys.modules, "pkg.pipeline.probe", ModuleType("pkg.pipeline.probe", "Stage `probe`: probes."))
    return Imports(root)


def run(params: Params) -> StageReport:
    return StageReport()


def declared(per: str | tuple[str, ...] | None) -> dict[str, Stage]:
    run.__module__ = "pkg.pipeline.probe"
    stage = Stage("probe", ("probe", "codecs.{item}.kind"), per, lambda params: (), run)
    return {"probe": stage}


def test_the_closure_follows_functions_and_registries_but_not_types_or_plumbing(package: Imports) -> None:
    loaded = {"pipeline.probe", "probes", "probes.fit", "registry", "kinds", "kinds.one", "files"}
    loaded |= {"codecs", "codecs.adapter"}
    assert package.closure("pipeline.probe") == loaded


def test_a_package_is_a_folder_where_all_of_it_or_more_than_code_is_meant(package: Imports) -> None:
    covering = package.covering(package.closure("pipeline.probe"))
    assert [path.relative_to(package.package).as_posix() for path in covering] == [
        *("codecs", "files.py", "kinds", "pipeline/probe.py"),
        *("probes/__init__.py", "probes/fit.py", "registry.py"),
    ]


def test_what_the_code_says_is_filled_in_beside_what_a_person_wrote(package: Imports) -> None:
    text = dedent(
        """\
        # the whole pipeline
        stages:
          probe:
            deps:
              - data/tokens # by encode
              - src/pkg/gone.py
            outs:
              - models/probes
        """
    )
    expected = dedent(
        """\
        # the whole pipeline
        stages:
          probe:
            foreach: ${codecs}
            do:
              desc: Probes
              cmd: PYTHONPATH=src python -m phonoscope probe ${key}
              deps:
                - data/tokens # by encode
                - requirements.lock
                - src/pkg/codecs
                - src/pkg/files.py
                - src/pkg/kinds
                - src/pkg/pipeline/probe.py
                - src/pkg/probes/__init__.py
                - src/pkg/probes/fit.py
                - src/pkg/registry.py
              params:
                - codecs.${key}.kind
                - probe
              outs:
                - models/probes
        """
    )
    assert written(text, declared("codecs"), PARAMS, package) == expected
    assert written(expected, declared("codecs"), PARAMS, package) == expected


@pytest.mark.parametrize(
    ("per", "foreach", "item"),
    [
        ("sae.sites", "foreach: ${sae.sites}\n", "${item}"),
        (("codes", "mel"), "foreach:\n      - codes\n      - mel\n", "${item}"),
    ],
)
def test_a_list_gives_its_items(package: Imports, per: str | tuple[str, ...], foreach: str, item: str) -> None:
    text = written("stages:\n  probe:\n    outs:\n      - a\n", declared(per), PARAMS, package)
    assert foreach in text
    assert f"phonoscope probe {item}" in text


def test_a_stage_in_only_one_of_the_two_is_refused(package: Imports) -> None:
    with pytest.raises(ValueError, match=r"'probe' is not in dvc\.yaml"):
        written("stages: {}\n", declared(None), PARAMS, package)
    with pytest.raises(ValueError, match="'odd' is not in a module"):
        written("stages:\n  probe: {outs: [a]}\n  odd: {outs: [b]}\n", declared(None), PARAMS, package)


def test_every_module_called_plumbing_exists() -> None:
    assert set(imports.PLUMBING) <= Imports().files.keys()
