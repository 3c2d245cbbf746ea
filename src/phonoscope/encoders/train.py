"""Training of an audio encoder: word and speaker from one window."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from phonoscope.compute import derive_seed
from phonoscope.config.encoders import EncoderConfig
from phonoscope.encoders.audio import AudioEncoder
from phonoscope.encoders.windows import NO_WORD, Windows


class WindowClassifier(nn.Module):
    """An audio encoder with one linear head per task."""

    def __init__(self, encoder: AudioEncoder, classes: dict[str, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict({task: nn.Linear(encoder.output_features, n) for task, n in classes.items()})

    def forward(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        features = self.encoder(x, mask).relu()
        return {task: head(features) for task, head in self.heads.items()}


@dataclass(frozen=True)
class Trained:
    """A classifier, its curve (a row every `log_every` steps), and its scores on the eval windows."""

    model: WindowClassifier
    curve: pd.DataFrame
    scores: dict[str, float]
    hits: pd.DataFrame  # task, utterance, windows, right: windows of each eval utterance, and those classified right


def train_encoder(
    encoder: AudioEncoder, train: Windows, evaluation: Windows, config: EncoderConfig, seed: int, device: torch.device
) -> Trained:
    """Train on all tasks at once: the sum of the cross-entropies, the word's over isolated words only.

    `seed` draws the batches. AdamW, one-cycle schedule, gradients clipped at 1. Raises `FloatingPointError`.
    """
    model = WindowClassifier(encoder, {task: len(names) for task, names in train.classes.items()}).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=config.steps)
    batches = _batches(train, config.batch_size, derive_seed(seed, "batches"))
    rows: list[dict[str, float]] = []
    model.train()
    for step in tqdm(range(1, config.steps + 1), desc=f"{encoder.input} encoder", disable=None, leave=False):
        x, mask, labels = _tensors(train, next(batches), device)
        with _precision(device, config):
            # a sum over the known labels by their number: a batch may hold no isolated word, whose mean would be NaN
            losses = {
                task: cross_entropy(values, labels[task], ignore_index=NO_WORD, reduction="sum")
                / (labels[task] != NO_WORD).sum().clamp(min=1)
                for task, values in model(x, mask).items()
            }
        loss = torch.stack(list(losses.values())).sum()
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}; lower the learning rate")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % config.log_every == 0 or step == config.steps:
            parts = {f"loss_{task}": float(value.detach()) for task, value in losses.items()}
            rows.append({"step": step, **parts, **_watch(encoder, x)})
    return Trained(model, pd.DataFrame(rows), *evaluate(model, evaluation, config, device))


def evaluate(
    model: WindowClassifier, windows: Windows, config: EncoderConfig, device: torch.device
) -> tuple[dict[str, float], pd.DataFrame]:
    """Accuracy, macro-F1 (scikit-learn's, over the classes that occur) and loss of each task; `Trained.hits`."""
    from sklearn.metrics import accuracy_score, f1_score

    model.eval()
    logits: dict[str, list[Tensor]] = {task: [] for task in model.heads}
    with torch.no_grad(), _precision(device, config):
        for rows in np.split(np.arange(len(windows.x)), range(128, len(windows.x), 128)):
            x, mask, _ = _tensors(windows, rows, device)
            for task, values in model(x, mask).items():
                logits[task].append(values.float().cpu())
    scores: dict[str, float] = {}
    hits = []
    for task, parts in logits.items():
        labels = torch.from_numpy(windows.labels[task])
        known = labels != NO_WORD
        values, truth = torch.cat(parts)[known], labels[known]
        scores[f"accuracy_{task}"] = float(accuracy_score(truth, values.argmax(1)))
        scores[f"macro_f1_{task}"] = float(f1_score(truth, values.argmax(1), average="macro", zero_division=0))
        scores[f"loss_{task}"] = float(cross_entropy(values, truth))
        names = np.array(windows.utterances)[known.numpy()]
        right = pd.Series((values.argmax(1) == truth).numpy().astype(int)).groupby(names).agg(["size", "sum"])
        right.columns = pd.Index(["windows", "right"])
        hits.append(right.rename_axis("utterance").reset_index().assign(task=task))
    return scores, pd.concat(hits, ignore_index=True)


def _batches(windows: Windows, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Row indices of one batch after another, without end."""
    generator = np.random.default_rng(seed)
    size = min(size, len(windows.x))
    # an epoch leaves out the rest that does not fill a batch: batch normalisation cannot train on a single window
    while True:
        order = generator.permutation(len(windows.x))
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def _tensors(
    windows: Windows, rows: NDArray[np.int64], device: torch.device
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Inputs of a batch, cut to its longest window, with mask and labels."""
    lengths = windows.lengths[rows]
    x = torch.from_numpy(windows.x[rows][:, :, : lengths.max()]).to(device)
    mask = torch.arange(x.shape[2]) < torch.from_numpy(lengths)[:, None]
    labels = {task: torch.from_numpy(values[rows]).to(device) for task, values in windows.labels.items()}
    return x, mask.to(device), labels


def _precision(device: torch.device, config: EncoderConfig) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=config.mixed_precision and device.type == "cuda")


def _watch(encoder: AudioEncoder, x: Tensor) -> dict[str, float]:
    """Codes in use in the batch, their perplexity, and the norms of the embedding's vectors."""
    if encoder.embedding is None:
        return {}
    counts = torch.bincount(x.flatten().long(), minlength=encoder.embedding.vocabulary).double()
    norms = encoder.embedding.table.weight.detach().norm(dim=1)
    return {
        "codes_used": float((counts > 0).sum()),
        "code_perplexity": float(torch.distributions.Categorical(counts).entropy().exp()),
        "embedding_norm": float(norms.mean()),
        "embedding_norm_sd": float(norms.std()),
    }
