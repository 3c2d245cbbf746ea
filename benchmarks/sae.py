"""Our BatchTopK trainer against dictionary-learning's: same frames, batches, width, schedule and device."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks import reference_sae
from benchmarks.environment import environment_with, run_in
from phonoscope.compute import setup_torch
from phonoscope.config.compute import ComputeConfig, DeviceName
from phonoscope.config.sae import SaeConfig
from phonoscope.data import Features
from phonoscope.errors import DataError, ParamsError
from phonoscope.sae.data import Frames
from phonoscope.sae.metrics import mean_output, score
from phonoscope.sae.models import SparseAutoencoder, build_shape
from phonoscope.sae.train import SaeTrainer

REQUIREMENT = "dictionary-learning==0.1.0"


def bench_folder(folder: Path, *, steps: int, device: str, threads: int, environment: Path) -> dict[str, Any]:
    """Run `bench_sae` on a features folder of stage `features`, with the default BatchTopK settings."""
    if device not in get_args(DeviceName):
        raise ParamsError(f"device {device!r}: there are {', '.join(get_args(DeviceName))}")
    try:
        features = Features.load(folder)
    except DataError as error:
        raise DataError(f"{error}; run `dvc repro features`") from error
    where: Any = device
    config = SaeConfig(kind="batchtopk")
    return bench_sae(features, config, steps=steps, device=where, threads=threads, environment=environment)


def bench_sae(
    features: Features, config: SaeConfig, *, steps: int, device: DeviceName, threads: int, environment: Path
) -> dict[str, Any]:
    """Train with both; return `ours`, `reference` (tokens_per_s, held-out fvu and l0) and the `ratio` of tokens_per_s.

    Both get the same frames in the same order, the same input scale and the same rule for dead features. The same code
    then sets the threshold of each model on the train frames, so both have the same L0.

    Args:
        features: values [n, d] float16, whose rows are split into train and eval.
        config: the kind must be `batchtopk`; `steps` replaces the epochs.
        environment: folder of the reference's virtual environment.
    Raises: `EnvironmentFault` if the reference cannot be installed or fails.
    """
    if config.kind != "batchtopk":
        raise DataError(f"the benchmark compares BatchTopK, not {config.kind}")
    where = setup_torch(ComputeConfig(torch_threads=threads, device=device), config.seed)
    data, rest = (Frames.of(features.values, rows=features.rows(split)) for split in ("train", "eval"))
    config = config.model_copy(update={"epochs": steps * config.batch_size / len(data)})
    python = environment_with(REQUIREMENT, environment)
    shape = build_shape("autoencoder", config, d_in=features.values.shape[1], d_out=features.values.shape[1])
    trainer = SaeTrainer(SparseAutoencoder(shape), data, config, where)
    order = np.stack([data.batch(step, config.batch_size, config.seed) for step in range(trainer.steps)])
    scale = trainer.input_scale
    start = time.perf_counter(), time.process_time()
    trainer.run()
    if where.type == "cuda":
        torch.cuda.synchronize()
    seconds = {"wall": time.perf_counter() - start[0], "cpu": time.process_time() - start[1]}
    ours = _result(trainer.finish(), seconds, data, rest, order.size, where)
    with tempfile.TemporaryDirectory(prefix="phonoscope-bench-") as name:
        folder = Path(name)
        np.save(folder / "frames.npy", data.take(np.arange(len(data)), torch.device("cpu"))[0].numpy() / scale)
        np.save(folder / "order.npy", order)
        settings = _settings(trainer, threads)
        run_in(python, Path(reference_sae.__file__), str(folder), json.dumps(settings))
        model = _read(SparseAutoencoder(shape), folder).to(where)
        spent = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    model.rescale(scale, scale)
    model.calibrate(x for x, _ in data.batches(where))
    reference = _result(model, spent, data, rest, order.size, where)
    return {"ours": ours, "reference": reference, "ratio": ours["tokens_per_s"] / reference["tokens_per_s"]}


def _settings(trainer: SaeTrainer, threads: int) -> dict[str, Any]:
    """Our schedule in the reference's terms."""
    config, steps = trainer.config, trainer.steps
    return {
        "threads": threads,
        "device": trainer.device.type,
        "width": trainer.model.shape.d_sae,
        "k": config.k,
        "lr": config.lr,
        "warmup_steps": round(config.warmup * steps),
        "decay_start": steps - round(config.decay * steps),
        "dead_tokens": trainer.dead_tokens,
        "seed": config.seed,
    }


@torch.no_grad()
def _read(model: SparseAutoencoder, folder: Path) -> SparseAutoencoder:
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.from_numpy(np.load(folder / f"{name}.npy")))
    return model.eval().requires_grad_(False)


def _result(
    model: SparseAutoencoder, seconds: dict[str, float], train: Frames, rest: Frames, tokens: int, device: torch.device
) -> dict[str, float]:
    scores = score(model, rest.batches(device), mean_output(train.batches(device)))
    return {
        "tokens_per_s": tokens / seconds["wall"],
        "tokens_per_cpu_s": tokens / seconds["cpu"],
        "fvu": scores.fvu,
        "l0": scores.l0,
    }
