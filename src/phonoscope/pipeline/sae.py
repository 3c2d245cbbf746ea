"""Stage `sae@<site>`: a sparse autoencoder, transcoder or crosscoder of one site."""

from __future__ import annotations

from functools import partial

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.config.sae import SaeConfig
from phonoscope.config.sites import Site
from phonoscope.files import atomic_dir, write_csv
from phonoscope.pipeline.base import StageReport, named_parameters, stage

SAE_KEYS = [f"sae.{key}" for key in SaeConfig.model_fields if key not in ("sites", "checkpoint_every")]
"""The parameters that one site's training depends on: another site in the list leaves it as it is."""


@stage("sae", per="sae.sites", params=[*SAE_KEYS, "whisper", "compute.torch_threads", "compute.device"])
def run(params: Params, item: str) -> StageReport:
    """Write models/sae/<site> and metrics/{sae,sae_training,sae_scores,sae_l0}/<site>.csv."""
    from phonoscope.compute import in_threads, setup_torch
    from phonoscope.data import Features
    from phonoscope.pipeline.listening import downstream
    from phonoscope.sae import save_sae
    from phonoscope.sae.data import site_frames
    from phonoscope.sae.fit import evaluate, fit
    from phonoscope.sae.kinds import build_kind

    config, site, checkpoint = params.sae, Site.parse(item), paths.sae_checkpoint(item)
    with named_parameters("sae"):  # refuses an unknown kind or option at once
        build_kind(config.kind, config.options)
    features, device = Features.load(paths.features(item)), setup_torch(params.compute, config.seed)
    train, held_out = (site_frames(site.form, features, split) for split in ("train", "eval"))
    layers = features.values.shape[1] if site.form == "crosscoder" else 1
    trained = fit(train, site.form, config, device, layers=layers, checkpoint=checkpoint)
    scoring = partial(evaluate, trained, train, held_out)
    whisper = partial(downstream, params, site, trained.model)
    fitted, faithful = in_threads(params.compute, scoring, whisper)
    again = {}
    for seed in range(config.seed + 1, config.seed + config.seeds):  # another start, and another order of frames
        other, place = config.model_copy(update={"seed": seed}), paths.sae_checkpoint(f"{item}-{seed}")
        again[place] = fit(train, site.form, other, device, layers=layers, checkpoint=place).model, seed
    training = config.model_dump(mode="json", exclude={"sites", "checkpoint_every"})
    metadata = {"model_name": features.config.get("checkpoint", ""), "hook_name": item}
    with atomic_dir(paths.sae_model(item)) as folder:
        save_sae(fitted.model, folder, metadata | {"training": training | {"dead_tokens": trained.dead_tokens}})
        for model, seed in again.values():
            save_sae(model, folder / f"seed_{seed}", metadata | {"training": training | {"seed": seed}})
    tables = {paths.sae_metrics: fitted.features, paths.sae_training: fitted.curve, paths.sae_l0: fitted.l0}
    for path, table in tables.items():
        write_csv(path(item), table)
    report = StageReport(metrics=fitted.metrics | faithful).saved(paths.sae_scores(item))
    for place in (checkpoint, *again):
        place.unlink(missing_ok=True)
    return report
