"""Cost of adding a thing: one of each, added to a copy of the checkout in as few files as promised, and run there."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from tests.codecs.tiny import TRANSFORMERS
from tests.commandline import python
from tools.imports import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout's code and declarations."""
    for name in ("src", "tools", "corpora"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def add(copy: Path, files: Mapping[str, str], count: int) -> None:
    """Create Python files or append to them; put sections of YAML under the key in their first line."""
    assert len(files) == count
    for name, text in files.items():
        path = copy / name
        if path.suffix == ".py":
            with path.open("a", encoding="utf-8") as file:
                file.write(dedent(text))
        else:
            key = text.partition("\n")[0]
            content = path.read_text(encoding="utf-8")
            assert content.count(f"\n{key}\n") == 1
            path.write_text(content.replace(f"\n{key}\n", f"\n{text}"), encoding="utf-8")


def run(copy: Path, *arguments: str) -> str:
    """Standard output of Python with the copy's package."""
    done = python(copy, *arguments, source=copy / "src")
    assert done.returncode == 0, done.stderr
    return done.stdout


STAGE = {
    "src/phonoscope/pipeline/count.py": '''
        """Stage `count`: number of utterances."""

        from phonoscope import paths
        from phonoscope.config.params import Params
        from phonoscope.pipeline.base import StageReport, stage


        @stage("count", params=["split.seed"])
        def run(params: Params) -> StageReport:
            """Write metrics/count.csv."""
            from phonoscope.data import Split

            split = Split.load(paths.SPLIT)
            return StageReport({"utterances": len(split.train) + len(split.eval)}).saved(paths.COUNT)
        ''',
    "src/phonoscope/paths.py": '\nCOUNT = Path("metrics/count.csv")\n',
    "dvc.yaml": """\
stages:
  count:
    deps:
      - data/split.json
    plots:
      - metrics/count.csv: {cache: false}
""",
}


def test_a_stage_takes_three_files(copy: Path) -> None:
    add(copy, STAGE, 3)
    assert "written" in run(copy, "-m", "tools.write_pipeline")
    entry = (copy / "dvc.yaml").read_text(encoding="utf-8").partition("\n  count:\n")[2].partition("\n  corpus:\n")[0]
    assert entry.startswith("    desc: Number of utterances\n    cmd: PYTHONPATH=src python -m phonoscope count\n")
    for dep in ("data/split.json", "requirements.lock", "src/phonoscope/data", "src/phonoscope/pipeline/count.py"):
        assert f"- {dep}\n" in entry
    assert "- split.seed\n" in entry
    (copy / "data").mkdir()
    (copy / "data" / "split.json").write_text('{"train": ["a", "b"], "eval": ["c"]}\n')
    run(copy, "-m", "phonoscope", "count")
    assert (copy / "metrics" / "count.csv").read_text(encoding="utf-8") == "metric,value\nutterances,3\n"


TASK = {
    "src/phonoscope/probes/tasks.py": """

        register(Task("open", "phone", _by_phone(lambda phone: "open" if phone in ("AA", "AE") else "other")))
        """
}
PROBE = """
import numpy as np
from phonoscope.data import Labels, Manifest, Split, Tokens
from phonoscope.probes import CodecInputs, ProbeConfig, TASKS, pose, read_frames, run_probes

rng = np.random.default_rng(0)
names = [f"u{n}" for n in range(8)]
codes = {name: rng.integers(0, 4, (1, 50)) for name in names}
phones = [["AA", "AE", "S", "T"][code] for name in names for code in codes[name][0]]
labels = Labels.from_frames([name for name in names for _ in range(50)], phones)
manifest, split = Manifest.from_arrays(names, speaker=list("aabbaabb")), Split.from_arrays(names[:6], names[6:])
config = ProbeConfig(tasks=("open",), probes=("linear",))
frames = read_frames(Tokens.from_arrays(codes), labels, manifest, [TASKS["open"]])
posed = pose(frames, manifest, split, config)
table = run_probes(posed, CodecInputs(frames.codes, (np.eye(4, dtype=np.float32),)), config, codec="toy").table
print(table.loc[table["measure"] == "accuracy", "value"].to_list())
"""


def test_a_probe_task_takes_one_file(copy: Path) -> None:
    add(copy, TASK, 1)
    assert run(copy, "-c", PROBE) == "[1.0]\n"  # the code says the phone


CODEC = {
    "src/phonoscope/codecs/kinds/loudness.py": '''
        """Loudness: a codec of one layer that knows only how loud a frame is."""

        from typing import Any

        from phonoscope.codecs.base import CodebookTensors
        from phonoscope.codecs.registry import CodecKind


        class Loudness:
            sample_rate, hop_length, n_layers, codebook_size = 16_000, 320, 1, 4

            def __init__(self) -> None:
                import torch

                self.model = torch.nn.Linear(1, 1)
                self.levels = torch.tensor([0.0, 0.1, 0.2, 0.3])

            def latent(self, audio: Any) -> Any:
                frames = audio[..., : audio.shape[-1] // 320 * 320].unflatten(-1, (-1, 320))
                return frames.square().mean(dim=-1).sqrt()

            def quantize(self, latent: Any) -> Any:
                return (latent[:, 0, :, None] - self.levels).abs().argmin(dim=-1)[:, None]

            def decode_latent(self, latent: Any) -> Any:
                return latent.repeat_interleave(320, dim=-1)

            def decode(self, codes: Any) -> Any:
                return self.decode_latent(self.levels[codes])

            def codebooks(self) -> CodebookTensors:
                return CodebookTensors([self.levels[:, None]], [self.levels[:, None]])

            def architecture(self) -> dict[str, Any]:
                return {}


        def load(checkpoint: str, n_layers: int | None = None) -> Loudness:
            return Loudness()


        KIND = CodecKind(build=load, load=load)
        ''',
    "params.yaml": """\
codecs:
  loud:
    kind: loudness
    checkpoint: none
    layers: 1
""",
}
ENCODE = """
import sys
import numpy as np
from phonoscope.codecs import encode
from phonoscope.codecs.checkpoints import open_codec
from phonoscope.config.params import load_params
from phonoscope.pipeline.runner import check_choices

name = sys.argv[1]
params = load_params()
check_choices(params)
codes, _ = encode(open_codec(name, params.codec(name)), 0.2 * np.sign(np.sin(np.arange(3200))), 16_000)
print(codes.shape[0], int(codes[0, 0]))
"""


def test_a_codec_of_a_new_class_takes_two_files(copy: Path) -> None:
    add(copy, CODEC, 2)
    assert run(copy, "-c", ENCODE, "loud") == "1 2\n"


HUB_CODEC = {
    "params.yaml": """\
codecs:
  tiny:
    kind: transformers
    checkpoint: tiny
    layers: 2
"""
}


def test_a_codec_in_the_form_of_transformers_takes_one_file(copy: Path) -> None:
    from transformers import DacConfig, DacModel

    config = {key: value for key, value in TRANSFORMERS["transformers-dac"].items() if key != "model_type"}
    DacModel(DacConfig(**config)).save_pretrained(copy / "tiny")
    add(copy, HUB_CODEC, 1)
    assert run(copy, "-c", ENCODE, "tiny").startswith("2 ")


KIND = {
    "src/phonoscope/sae/kinds/squared.py": '''
        """ReLU with a penalty on squared activations."""

        from typing import Any

        from pydantic import Field

        from phonoscope.sae.kinds import Kind, register


        @register("squared")
        class Squared(Kind):
            architecture = "standard"
            weight: float = Field(default=0.1, ge=0)

            def activate(self, model: Any, pattern: Any, values: Any) -> Any:
                return values, self.weight * values.square().sum() / pattern.n
        '''
}
TRAIN = """
from pathlib import Path
import numpy as np
from phonoscope.sae import load_sae, save_sae, train_sae

values = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
mean = {}
for weight in (0.0, 100.0):
    options = {"weight": weight}
    fitted = train_sae(values, kind="squared", options=options, expansion=2, k=4, epochs=2, aux_k=4)
    save_sae(fitted.model, Path("sae"), {})
    model = load_sae(Path("sae"))
    mean[weight] = float(model.encode(values).mean())
print(mean[100.0] < mean[0.0])
"""


def test_an_sae_kind_takes_one_file(copy: Path) -> None:
    add(copy, KIND, 1)
    assert run(copy, "-c", TRAIN) == "True\n"


SOURCE = {
    "src/phonoscope/corpus/sources/named.py": '''
        """Files named `<speaker> <word>.wav`."""

        from collections.abc import Iterator
        from pathlib import Path
        from typing import Any

        from phonoscope.corpus.items import AudioFile, RawItem


        def read(root: Path, config: Any) -> Iterator[RawItem]:
            for path in sorted(root.glob("*.wav")):
                speaker, word = path.stem.split()
                yield RawItem(f"{speaker}-0-{word}", speaker, "0", path.name, AudioFile(path), text=word)
        '''
}


def test_a_corpus_source_takes_one_file(copy: Path) -> None:
    add(copy, SOURCE, 1)
    (copy / "speech").mkdir()
    for name in ("ann one", "ann two", "bob one"):
        sf.write(copy / "speech" / f"{name}.wav", 0.3 * np.sin(np.arange(8000) / 9), 16_000)
    content = (copy / "params.yaml").read_text(encoding="utf-8")
    content = content.replace("source: espeak", "source: named").replace("root: corpora/espeak", "root: speech", 1)
    (copy / "params.yaml").write_text(content, encoding="utf-8")
    run(copy, "-m", "phonoscope", "corpus")
    manifest = pd.read_parquet(copy / "data" / "corpus" / "manifest.parquet")
    assert manifest["text"].tolist() == ["one", "two", "one"]
