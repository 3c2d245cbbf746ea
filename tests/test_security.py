"""No module runs code found in data, unpickles, or opens the machine to others."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [file for folder in ("src", "benchmarks", "tools") for file in sorted((ROOT / folder).rglob("*.py"))]

FORBIDDEN_MODULES = {"cPickle", "cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "pty", "shelve", "telnetlib"}
FORBIDDEN_CALLS = {
    *("__import__", "compile", "eval", "exec", "pandas.eval", "pd.eval"),
    *("joblib.load", "pandas.read_pickle", "pd.read_pickle", "tempfile.mktemp", "torch.hub.load"),
    *("os.popen", "os.system", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("yaml.full_load", "yaml.load", "yaml.load_all", "yaml.unsafe_load"),
}
SAFE_YAML = {"safe", "rt"}


def _name(node: ast.expr) -> str:
    """`a.b.c` for an attribute chain; `?` for a part that is not a name."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{_name(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"


def _keyword(call: ast.Call, name: str) -> object:
    """Constant value of a keyword argument; None if absent, `...` if not a constant."""
    values = (keyword.value for keyword in call.keywords if keyword.arg == name)
    return next((value.value if isinstance(value, ast.Constant) else ... for value in values), None)


def _is(call: ast.Call, name: str) -> bool:
    return _name(call.func) == name or _name(call.func).endswith(f".{name}")


def _pickles(node: ast.AST) -> Iterator[str]:
    """Uses of modules that unpickle; only `pickle.UnpicklingError`, which torch raises, is allowed."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names if alias.name != "pickle" or alias.asname]
    elif isinstance(node, ast.ImportFrom):
        names = [str(node.module)] if [alias.name for alias in node.names] != ["UnpicklingError"] else []
    elif isinstance(node, ast.Attribute) and _name(node) != "pickle.UnpicklingError":
        names = [_name(node)] if _name(node).startswith("pickle.") else []
    yield from (f"use of {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES)


RULES: dict[str, Callable[[ast.Call], bool]] = {
    "runs code or unpickles": lambda call: _name(call.func) in FORBIDDEN_CALLS,
    "runs a shell": lambda call: _keyword(call, "shell") not in (None, False),
    "np.load with pickles": lambda call: _keyword(call, "allow_pickle") not in (None, False),
    "torch.load without weights_only=True": lambda call: (
        _is(call, "torch.load") and _keyword(call, "weights_only") is not True
    ),
    "a checkpoint that may be a pickle": lambda call: (
        _is(call, "from_pretrained") and _keyword(call, "use_safetensors") not in (None, True)
    ),
    "code of a checkpoint": lambda call: _keyword(call, "trust_remote_code") not in (None, False),
    "extraction without filter": lambda call: (
        (_is(call, "extractall") or _is(call, "unpack_archive")) and _keyword(call, "filter") != "data"
    ),
    "a YAML reader that makes objects": lambda call: _is(call, "YAML") and _keyword(call, "typ") not in SAFE_YAML,
    "a server for everybody": lambda call: any(
        isinstance(part, ast.Constant) and part.value in ("0.0.0.0", "::") for part in ast.walk(call)
    ),
    "a certificate that is not checked": lambda call: _keyword(call, "verify") is False,
}


def violations(text: str) -> list[str]:
    """Broken rules in a module's text, with their lines."""
    broken_rules = []
    for node in ast.walk(ast.parse(text)):
        reasons = list(_pickles(node))
        if isinstance(node, ast.Call):
            reasons += [reason for reason, broken in RULES.items() if broken(node)]
        broken_rules += [f"{getattr(node, 'lineno', 0)}: {reason}" for reason in reasons]
    return broken_rules


def test_no_module_breaks_a_rule() -> None:
    assert len(FILES) > 100
    results = {file.relative_to(ROOT).as_posix(): violations(file.read_text(encoding="utf-8")) for file in FILES}
    assert {name: lines for name, lines in results.items() if lines} == {}


BROKEN = """\
import pickle; pickle.load(file)
import pickle as p
from pickle import loads
from marshal import loads
import shelve as s
eval('1')
exec(text)
os.system('ls')
joblib.load(path)
tempfile.mktemp()
yaml.load(text)
YAML().load(text)
YAML(typ='unsafe')
subprocess.run('ls', shell=True)
subprocess.run('ls', shell=flag)
np.load(path, allow_pickle=True)
np.load(path, allow_pickle=flag)
torch.load(path)
torch.load(path, weights_only=False)
Model.from_pretrained(name, use_safetensors=False)
AutoModel.from_pretrained(name, trust_remote_code=True)
archive.extractall(folder)
archive.extractall(folder, filter='tar')
shutil.unpack_archive(path)
serve(host='0.0.0.0')
requests.get(url, verify=False)"""


@pytest.mark.parametrize("text", BROKEN.splitlines())
def test_the_rules_see_what_they_forbid(text: str) -> None:
    assert violations(text) != []
