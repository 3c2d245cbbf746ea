import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel
from ruamel.yaml import YAML

from phonoscope import paths
from phonoscope.config.codecs import CodecConfig
from phonoscope.config.params import Params, load_params
from phonoscope.errors import ParamsError
from tests.commandline import HEAVY, python

FILE = Path(__file__).parents[2] / paths.PARAMS
DEFAULTS: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))


def written(folder: Path, changes: Mapping[str, Any]) -> Path:
    """The repository's params.yaml with dotted keys set."""
    content = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        section = content
        for name in parents:
            section = section.setdefault(name, {})
        section[leaf] = value
    path = folder / paths.PARAMS
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    return path


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and every model below it."""
    yield model
    for field in model.model_fields.values():
        below = CodecConfig if field.annotation == dict[str, CodecConfig] else field.annotation
        if inspect.isclass(below) and issubclass(below, BaseModel):
            yield from models(below)


def dotted(values: Mapping[str, Any], prefix: str = "") -> set[str]:
    keys = set()
    for name, value in values.items():
        keys |= dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}"}
    return keys


def test_params_yaml_holds_the_defaults() -> None:
    assert load_params(FILE) == Params.model_validate({"codecs": DEFAULTS["codecs"]})


def test_params_yaml_spells_every_parameter_out() -> None:
    """DVC's `-S` only sets keys that are there."""
    assert dotted(DEFAULTS) == dotted(load_params(FILE).model_dump(mode="json"))


@pytest.mark.parametrize("model", sorted(set(models(Params)), key=str))
def test_every_parameter_is_explained_beside_or_below_it(model: type[BaseModel]) -> None:
    lines, first = inspect.getsourcelines(model)
    inherited = getattr(model.__base__, "model_fields", {})
    for name in model.model_fields.keys() - inherited.keys():
        place = next(place for place, line in enumerate(lines) if line.startswith(f"    {name}:"))
        assert "  # " in lines[place] or lines[place + 1].startswith('    """'), f"line {first + place}: {name}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corpus.sourc": "espeak"}, ["corpus.sourc: unknown key", "'source'"]),
        ({"codecs.dac.layer": 3}, ["codecs.dac.layer: unknown key", "'layers'"]),
        ({"probe.classifier.max_itr": 3}, ["probe.classifier.max_itr: unknown key", "'max_iter'"]),
        ({"probes": {}}, ["probes: unknown key", "'probe'"]),
        ({"compute.zzz": 1}, ["compute.zzz: unknown key", "workers", "torch_threads", "device"]),
        ({"corpus.max_utterances": -1}, ["corpus.max_utterances", "greater than or equal to 0", "-1"]),
        ({"corpus.max_utterances": "many"}, ["corpus.max_utterances", "integer", "'many'"]),
        ({"corpus.root": None}, ["corpus.root", "string", "None"]),
        ({"alignment.f0_max_hz": 70}, ["alignment", "octave"]),
        ({"alignment.method": "forced", "alignment.stress": "keep"}, ["alignment", "needs method given or events"]),
        ({"split.eval_fraction": 0}, ["split.eval_fraction", "greater than 0"]),
        ({"codecs.encodec.adapt_steps": -5}, ["codecs.encodec", "adapt_steps must be 0 or more"]),
        ({"codecs.encodec.adapt_steps": "soon"}, ["codecs.encodec.adapt_steps", "'soon'"]),
        ({"codecs": {}}, ["codecs", "at least 1"]),
        ({"codecs": {"a/b": {"kind": "dac"}}}, ["codecs", "'a/b'"]),
        ({"probe.classifier.C": "strong"}, ["probe.classifier.C", "number", "'strong'"]),
        ({"training.lr": float("nan")}, ["training.lr", "finite number", "nan"]),
        ({"sae.sites": ["encoder_3", "encoder_x"]}, ["sae.sites", "no site is called 'encoder_x'"]),
        ({"probe.confidence": 1}, ["probe.confidence", "less than 1"]),
        ({"probe": 3}, ["probe", "3"]),
        ({"compute.device": "gpu"}, ["compute.device", "'cuda'", "'gpu'"]),
    ],
)
def test_a_refusal_names_key_reason_and_value(tmp_path: Path, changes: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ParamsError) as refusal:
        load_params(written(tmp_path, changes))
    assert all(part in str(refusal.value) for part in said), str(refusal.value)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"corpus\.takes.*split\.folds.*compute\.worker:"):
        load_params(written(tmp_path, {"corpus.takes": -1, "split.folds": 1, "compute.worker": 2}))


LONG_KEYS = sorted(
    f"{section}.{name}"
    for section in ("corpus", "training", "alignment")
    for name in DEFAULTS[section]
    if len(name) > 7
)


@given(key=st.sampled_from(LONG_KEYS), data=st.data())
def test_a_slip_of_the_pen_finds_its_key(
    key: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    section, name = key.split(".")
    position = data.draw(st.integers(1, len(name) - 1))
    slip = name[:position] + name[position + 1 :]
    with pytest.raises(ParamsError, match=f"{section}\\.{slip}: unknown key; did you mean '{name}'"):
        load_params(written(tmp_path_factory.mktemp("slip"), {f"{section}.{slip}": 1}))


def test_a_missing_section_takes_its_defaults_but_codecs_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("codecs: {dac: {kind: dac}}\n")
    assert load_params(path).probe == load_params(FILE).probe
    path.write_text("corpus: {takes: 2}\n")
    with pytest.raises(ParamsError, match="codecs: missing"):
        load_params(path)
    path.write_text("codecs: {dac: {layers: 4}}\n")
    with pytest.raises(ParamsError, match=r"codecs\.dac\.kind: missing"):
        load_params(path)


@pytest.mark.parametrize(
    ("source", "steps", "expected"),
    [("espeak", "auto", 0), ("fsdd", "auto", 100), ("folder", "auto", 100), ("espeak", 7, 7), ("fsdd", 0, 0)],
)
def test_adapt_steps(tmp_path: Path, source: str, steps: str | int, expected: int) -> None:
    changes = {"corpus.source": source, "codecs.dac.adapt_steps": steps}
    assert load_params(written(tmp_path, changes)).adapt_steps("dac") == expected


def test_params_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_params(FILE).corpus.takes = 3


def test_configs_import_nothing_heavy(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", "import phonoscope.config.params, sys; print(*sys.modules)")
    assert not {*HEAVY, "numpy"} & set(done.stdout.split())


def test_only_a_whole_number_is_converted_to_a_decimal_one(tmp_path: Path) -> None:
    for value in (True, "3", 3.0):
        with pytest.raises(ParamsError, match=r"corpus\.takes: input should be a valid integer"):
            load_params(written(tmp_path, {"corpus.takes": value}))
    assert load_params(written(tmp_path, {"training.lr": 1})).training.lr == 1.0


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)


def refusal(path: Path) -> str:
    """Any other exception than our own is a crash."""
    try:
        load_params(path)
    except ParamsError as error:
        return str(error)
    return f"{path}: none"


@given(key=st.sampled_from(sorted(dotted(DEFAULTS))), value=ANYTHING)
@example(key="depth.blocks", value=[])
def test_any_value_of_any_key_is_taken_or_refused(
    key: str, value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written(tmp_path_factory.getbasetemp(), {key: value})
    assert refusal(path).startswith(f"{path}: ")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: ")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


REFUSED = {
    "a billion laughs": (LAUGHS, r"alias \*a; write the value out"),
    "a list that holds itself": ("a: &a [*a]\n", "alias"),
    "brackets": ("[" * 20_000, "nested more than 20 deep"),
    "braces": ("{a: " * 20_000, "nested more than 20 deep"),
    "indents": ("".join(f"{'  ' * depth}a:\n" for depth in range(500)), "nested more than 20 deep"),
    "no date": ("a: 2001-99-99\n", "not readable YAML"),
    "a list as a key": ("? [1, 2]\n: 3\n", "not readable YAML"),
    "a number of 5000 digits": (f"a: {'9' * 5000}\n", "not readable YAML"),
    "nothing": ("", "holds no mapping"),
    "text": ("just text", "holds no mapping"),
    "a list": ("- a\n- b\n", "holds no mapping"),
    "an open list": ("a: [1\n", "not readable YAML"),
    "a key twice": ("a: 1\na: 2\n", "not readable YAML"),
    "a tab": ("\tx: 1", "not readable YAML"),
    "a call": ("corpus: !!python/object/apply:os.system ['true']\n", ""),
    "a name": ("corpus: !!python/name:os.system\n", ""),
    "an include": ("corpus: !include x\n", ""),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_file_of_something_else_is_refused_at_once(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(content)
    with pytest.raises(ParamsError, match=rf"p\.yaml: .*{reason}"):
        load_params(path)


def test_no_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no such file; run in the root of the checkout"):
        load_params(tmp_path / "p.yaml")
    with pytest.raises(ParamsError, match="not readable YAML"):
        load_params(tmp_path)
