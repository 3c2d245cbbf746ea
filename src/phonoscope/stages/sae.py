"""Stage `sae@<site>`: a sparse autoencoder, transcoder or crosscoder of one site's activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.compute import setup_torch
from phonoscope.files import atomic_dir, write_csv
from phonoscope.sae.data import Frames
from phonoscope.sae.fit import Fitted, fit_sae
from phonoscope.sae.store import save_sae
from phonoscope.stages.base import StageReport
from phonoscope.stages.features_io import Features, read_features
from phonoscope.stages.listening import eval_speech, open_whisper
from phonoscope.whisper.faithfulness import faithfulness

if TYPE_CHECKING:
    from phonoscope.params import Params
    from phonoscope.sae.models import Form


def run(params: Params, site: str) -> StageReport:
    """Write models/sae/<site> and metrics/{sae,sae_training,sae_scores,sae_l0}/<site>.csv."""
    config, features = params.sae, read_features(site)
    device = setup_torch(params.compute, config.seed)
    found = fit_sae(
        _frames(site, features, "train"),
        _frames(site, features, "eval"),
        form_of(site),
        config,
        device,
        layers=features.values.shape[1] if form_of(site) == "crosscoder" else 1,
        checkpoint=paths.sae_checkpoint(site),
    )
    notes = config.model_dump(mode="json", exclude={"sites", "checkpoint_every"})
    with atomic_dir(paths.sae_model(site)) as folder:
        save_sae(found.model, folder, {"site": site, "dead_tokens": found.dead_tokens, **notes})
    write_csv(paths.sae_metrics(site), found.features)
    write_csv(paths.sae_training(site), found.curve)
    write_csv(paths.sae_l0(site), found.l0)
    report = StageReport(metrics=_scores(found) | _downstream(params, site, found))
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


def _downstream(params: Params, site: str, found: Fitted) -> dict[str, float]:
    """Whisper's cross-entropy and WER with the site replaced by its reconstruction, against clean and zero."""
    settings = params.whisper
    whisper = open_whisper(settings.checkpoint, params.compute)
    audio, texts = eval_speech(params.sae.faithfulness)
    normalize, context_s = settings.normalize, settings.context_s
    return faithfulness(whisper, site, audio, texts, found.model, normalize=normalize, context_s=context_s)
