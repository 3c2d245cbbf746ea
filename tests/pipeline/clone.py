"""The whole pipeline at toy scale in a temporary clone of this checkout: `make smoke`, and the tests' start."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CHECKOUT = Path(__file__).parents[2]
OUTPUTS = ("data", "models", "metrics", "plots", "dvc.lock")
TOY: dict[str, Any] = YAML(typ="safe").load("""
corpus: {sentences_per_speaker: 3, takes: 1, max_utterances: 60}
codecs:
  encodec: {layers: 2}
  dac: {layers: 3}
  speechtokenizer: {layers: 2, adapt_steps: 2}
  speechtokenizer_undistilled: {layers: 2}
encode: {reconstructions: 4}
probe: {classifier: {max_iter: 30}}
depth:
  layers: [1, 2]
  train_utterances: 12
  eval_utterances: 6
  classifier: {max_iter: 30}
  label_permutations: 2
  mlp: {hidden: 8, steps: 10}
interpret: {top_k: 3, clip_features: 2, min_segments: 1, trees: 5, forest_utterances: 40, map_points: 20}
vq: {seeds: 1, arms: [older], steps: 4, codes: 16, channels: 8, batch_size: 8, older: {batch_size: 16}}
geometry:
  samples_per_word: 4
  full_view: false
  projections: [codes_concat]
  permutations: 9
  probe: {max_iter: 20}
maps: {frames: 300, max_iter: 250}
encoder: {layers: 2, steps: 3, seeds: 2, arms: [scrambled, pretrained], log_every: 2}
whisper: {compare: 2}
causal: {features: 2, utterances: 5, words: 5, max_wer: 100}
sae: {sites: [encoder_3], expansion: 2, k: 8, epochs: 1, log_every: 5, faithfulness: 2}
""")
FOREIGN = ("DVC", "GIT_", "MLFLOW_", "PHONOSCOPE", "PYTHONPATH", "PYTHONDONT", "OMP_", "OPENBLAS_", "MKL_", "NUMBA_")
"""What a test run sets for itself, but a user's shell does not."""


@dataclass(frozen=True)
class Clone:
    """A git repository of its own, with this checkout's virtual environment and nobody's git or DVC settings."""

    root: Path

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.root / ".dvc" / "tmp" / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def run(self, *command: str, check: bool = True, capture: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone; standard error goes where standard output goes."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.STDOUT if capture else None,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout or ''}")
        return done

    def dvc(self, *arguments: str, check: bool = True) -> str:
        return self.run("dvc", *arguments, check=check).stdout

    def phonoscope(self, *arguments: str) -> str:
        return self.run("env", "PYTHONPATH=src", "python", "-m", "phonoscope", *arguments).stdout

    def verify(self) -> dict[str, Any]:
        """The report of `phonoscope verify`."""
        command = ("env", "PYTHONPATH=src", "python", "-m", "phonoscope", "--quiet", "verify", "--json")
        done = self.run(*command, check=False)
        report: dict[str, Any] = json.loads(done.stdout)
        if report["ok"] != (done.returncode == 0):
            raise RuntimeError(f"verify exited with {done.returncode}:\n{done.stdout}")
        return report

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def cloned(self, root: Path) -> Clone:
        """A `git clone` of it."""
        self.run("git", "clone", "--quiet", str(self.root), str(root))
        return Clone(root).identify()

    def set_params(self, changes: Mapping[str, Any]) -> None:
        """Change params.yaml, keeping its comments; None removes a key."""
        yaml, path = YAML(), self.root / "params.yaml"
        content = yaml.load(path.read_text(encoding="utf-8"))
        _update(content, changes)
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(content, file)

    def initialise(self) -> Clone:
        """Make the folder a git repository."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.run("git", "init", "--quiet")
        return self.identify()

    def identify(self) -> Clone:
        """Give it an author, whom git asks for and DVC's experiments need."""
        for key, value in {"user.name": "Test", "user.email": "test@example.org", "init.defaultBranch": "main"}.items():
            self.run("git", "config", key, value)
        return self


def _update(content: Any, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, Mapping):
            _update(content[name], value)
        elif value is None:
            del content[name]
        else:
            content[name] = value


def executed(output: str) -> set[str]:
    """The stages that DVC says it runs."""
    return set(re.findall(r"Running stage '([^']+)'", output))


def make_clone(root: Path, changes: Mapping[str, Any]) -> Clone:
    """Copy this checkout as it is, changes that are not committed included and results excluded, and commit it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        source = CHECKOUT / name
        if source.is_file() and Path(name).parts[0] not in OUTPUTS:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, root / name)
    clone = Clone(root).initialise()
    clone.set_params(changes)
    clone.commit("Toy scale")
    return clone


def smoke() -> None:
    """Run the pipeline at toy scale with its output on the terminal, and leave nothing behind."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="phonoscope-smoke-") as folder:
        clone = make_clone(Path(folder) / "phonoscope", TOY)
        for command in (["dvc", "repro"], ["dvc", "status"], ["dvc", "metrics", "show", "--md"]):
            clone.run(*command, capture=False)
    sys.stdout.write(f"smoke: the whole pipeline ran in {time.perf_counter() - start:.0f} s\n")


if __name__ == "__main__":
    try:
        smoke()
    except RuntimeError as error:
        sys.exit(f"smoke: {error}")
