"""Stage `sae@<site>`: a sparse autoencoder, transcoder or crosscoder of one site's activations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.compute import setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.sae import SaeConfig
from phonoscope.files import atomic_dir, write_csv
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.features_io import Features, read_features
from phonoscope.pipeline.listening import eval_speech, open_whisper
from phonoscope.sae.data import Frames
from phonoscope.sae.fit import Fitted, evaluate_sae, train_sae
from phonoscope.sae.store import save_sae
from phonoscope.whisper.faithfulness import faithfulness

if TYPE_CHECKING:
    from phonoscope.config.params import Params
    from phonoscope.sae.models import Form, SparseAutoencoder

SAE_KEYS = [f"sae.{key}" for key in SaeConfig.model_fields if key not in ("sites", "checkpoint_every")]
"""The parameters that one site's training depends on: another site in the list leaves it as it is."""


@stage(
    "sae",
    per="sae.sites",
    desc="A sparse autoencoder, transcoder or crosscoder of one site",
    params=[*SAE_KEYS, "whisper", "compute.torch_threads", "compute.device"],
)
def run(params: Params, site: str) -> StageReport:
    """Write models/sae/<site> and metrics/{sae,sae_training,sae_scores,sae_l0}/<site>.csv."""
    config, features = params.sae, read_features(site)
    device = setup_torch(params.compute, config.seed)
    train, held_out = (_frames(site, features, split) for split in ("train", "eval"))
    layers = features.values.shape[1] if form_of(site) == "crosscoder" else 1
    checkpoint = paths.sae_checkpoint(site)
    trained = train_sae(train, form_of(site), config, device, layers=layers, checkpoint=checkpoint)
    scored, heard = in_threads(
        params.compute,
        partial(evaluate_sae, trained, train, held_out, config, device),
        partial(_downstream, params, site, trained.model),
    )
    report = _write(params, site, scored, heard)
    checkpoint.unlink(missing_ok=True)
    return report


def _write(params: Params, site: str, found: Fitted, heard: dict[str, float]) -> StageReport:
    config = params.sae
    notes = config.model_dump(mode="json", exclude={"sites", "checkpoint_every"})
    with atomic_dir(paths.sae_model(site)) as folder:
        save_sae(found.model, folder, {"site": site, "dead_tokens": found.dead_tokens, **notes})
    write_csv(paths.sae_metrics(site), found.features)
    write_csv(paths.sae_training(site), found.curve)
    write_csv(paths.sae_l0(site), found.l0)
    report = StageReport(metrics=_scores(found) | heard)
    write_csv(paths.sae_scores(site), report.table())
    return report


def form_of(site: str) -> Form:
    """What is trained at a site: MLPs have a transcoder, all layers together a crosscoder."""
    if site.startswith("mlp_"):
        return "transcoder"
    return "crosscoder" if site.endswith("_all") else "autoencoder"


def _frames(site: str, features: Features, split: str) -> Frames:
    values, rows = features.values, features.rows(split)
    if form_of(site) == "transcoder":
        return Frames(values[:, 0], values[:, 1], rows)
    flat = values.reshape(len(values), -1)
    return Frames(flat, flat, rows)


def _scores(found: Fitted) -> dict[str, float]:
    scores = found.scores
    by_layer = {f"fvu_layer_{layer}": fvu for layer, fvu in enumerate(scores.fvu_by_layer, start=1)}
    common = {"fvu": scores.fvu, "cosine": scores.cosine, "l0": scores.l0, "dead_share": found.dead_share}
    return common | (by_layer if len(by_layer) > 1 else {})


def _downstream(params: Params, site: str, model: SparseAutoencoder) -> dict[str, float]:
    """Whisper's cross-entropy and WER with the site replaced by its reconstruction, against clean and zero."""
    settings = params.whisper
    whisper = open_whisper(settings.checkpoint, params.compute)
    audio, texts = eval_speech(params.sae.faithfulness)
    normalize, context_s = settings.normalize, settings.context_s
    return faithfulness(whisper, site, audio, texts, model, normalize=normalize, context_s=context_s)


def in_threads(config: ComputeConfig, *jobs: Callable[[], Any]) -> tuple[Any, ...]:
    """The results of different jobs, side by side in threads where there are several workers.

    For work whose time goes into torch, which lets other threads run meanwhile; each has `torch_threads` of its own.
    """
    from joblib import Parallel, delayed

    if config.workers == 1:
        return tuple(job() for job in jobs)

    def start(job: Callable[[], Any]) -> Any:
        import torch

        torch.set_num_threads(config.torch_threads)
        return job()

    return tuple(Parallel(n_jobs=config.workers, prefer="threads")(delayed(start)(job) for job in jobs))
