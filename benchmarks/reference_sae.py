"""dictionary-learning's BatchTopK trainer on given batches; a script for the Python that has that package."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch


def train(folder: Path, settings: dict[str, Any]) -> None:
    """Train on frames.npy [n, d] in the order of order.npy [steps, batch]; write weights and seconds.json."""
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer

    torch.set_num_threads(settings["threads"])
    frames = torch.from_numpy(np.load(folder / "frames.npy")).to(settings["device"])
    order = torch.from_numpy(np.load(folder / "order.npy"))
    trainer = BatchTopKTrainer(
        steps=len(order),
        activation_dim=frames.shape[1],
        dict_size=settings["width"],
        k=settings["k"],
        layer=0,
        lm_name="whisper",
        lr=settings["lr"],
        warmup_steps=settings["warmup_steps"],
        decay_start=settings["decay_start"],
        seed=settings["seed"],
        device=settings["device"],
    )
    trainer.dead_feature_threshold = settings["dead_tokens"]
    start = time.perf_counter(), time.process_time()
    for step, rows in enumerate(order):
        trainer.update(step, frames[rows])
    if settings["device"] == "cuda":
        torch.cuda.synchronize()
    seconds = {"wall": time.perf_counter() - start[0], "cpu": time.process_time() - start[1]}
    weights = {
        "encoder": trainer.ae.encoder.weight,
        "b_enc": trainer.ae.encoder.bias,
        "W_dec": trainer.ae.decoder.weight.T,
        "b_dec": trainer.ae.b_dec,
    }
    for name, tensor in weights.items():
        np.save(folder / f"{name}.npy", tensor.detach().cpu().numpy())
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    train(Path(sys.argv[1]), json.loads(sys.argv[2]))
