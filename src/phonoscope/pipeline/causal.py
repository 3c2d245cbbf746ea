"""Stage `causal@<site>`: do the phone detectors of a site do what they seem to?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.causal.controls import density_controls
from phonoscope.causal.tables import LEAST, beats_controls, feature_verdicts, features_beat_controls, patching_table
from phonoscope.compute import derive_seed, parallel_map, pick_device
from phonoscope.config.causal import CausalConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.whisper import WhisperConfig
from phonoscope.drawing import png
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir, write_csv, write_json
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.listening import open_whisper
from phonoscope.pipeline.trial_speech import Noisy, TrialSpeech
from phonoscope.report.causal import draw_features, draw_patching
from phonoscope.sae.store import load_sae
from phonoscope.whisper.trials import Row, Setting, Spoken, feature_trial, patching_trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from phonoscope.config.params import Params

log = logging.getLogger(__name__)
EFFECTS = ("effect", "control_effect", "difference")
VERDICT_COLUMNS = (
    *("feature", "phone", "control", "intervention", "utterances", "words"),
    *(f"{name}{suffix}" for name in EFFECTS for suffix in ("", "_low", "_high")),
    *("wer_clean", "wer", "control_wer", "causal"),
)
Job = tuple["Detector | None", "list[Spoken] | Noisy"]
"""A detector with utterances that hold its phone; or, without one, noisy speech that is patched."""


class Detector(NamedTuple):
    """A feature that is to be tested, and the control it is held against."""

    feature: int
    phone: str
    control: int
    length: float
    """How far steering goes, in the units of features.npy."""


@stage(
    "causal",
    per="sae.sites",
    desc="Features ablated, steered and patched while Whisper listens",
    params=["causal", "whisper", "compute.torch_threads", "compute.device"],
)
def run(params: Params, site: str) -> StageReport:
    """Write metrics/causal/<site>.{json,csv}, metrics/patching/<site>.csv and plots/causal/<site>."""
    config = params.causal
    if site.startswith("decoder"):
        return _skip(site, "a decoder's positions are tokens, which have no phone; the tests need an encoder site")
    speech = TrialSpeech(site)
    trials = _detectors(site, config, speech)
    if not trials:
        return _skip(site, f"no phone has a detector and {LEAST} eval utterances; see data/interpret")
    detectors = list(trials)
    jobs: list[Job] = [*trials.items(), (None, speech.noisy(config))]
    open_setting = partial(_setting, site, params.whisper, params.compute)
    workers = params.compute.workers if pick_device(params.compute.device).type == "cpu" else 1
    *rows, patched = parallel_map(partial(_work, open_setting, detectors), jobs, workers=workers, description="causal")
    return _write(site, config, dict(zip(detectors, rows, strict=True)), patched)


def _setting(site: str, whisper: WhisperConfig, compute: ComputeConfig) -> Setting:
    """What the trials of a process share."""
    model = open_whisper(whisper.checkpoint, compute)
    sae = load_sae(paths.sae_model(site), model.device)
    return Setting(model, site, sae, whisper.normalize, whisper.context_s)


def _detectors(site: str, config: CausalConfig, speech: TrialSpeech) -> dict[Detector, list[Spoken]]:
    """The best phone detectors of `interpret` whose phone is in enough utterances, and these; with their controls."""
    folder = paths.interpretation(site)
    try:
        phones = pd.read_parquet(folder / "phones.parquet")
        features = pd.read_parquet(folder / "features.parquet")
    except (FileNotFoundError, OSError) as error:
        raise DataError(
            f"{folder}: phones.parquet or features.parquet is missing or not readable ({error}); "
            f"run `dvc repro --force interpret@{site}`"
        ) from error
    best = phones[phones["scored"] & (phones["feature"] >= 0)].drop_duplicates("feature")
    found = [
        (int(feature), str(phone), spoken)
        for feature, phone in zip(best["feature"], best["phone"], strict=True)
        if len(spoken := speech.with_phone(str(phone), config.utterances)) >= LEAST
    ][: config.features]
    chosen = [feature for feature, _, _ in found]
    density = features["density"].to_numpy(dtype=np.float64)
    detecting = features.loc[features["detects"] != "", "feature"].tolist()
    try:
        controls = density_controls(chosen, density, detecting, derive_seed(config.seed, site))
    except ValueError as error:
        raise DataError(f"{folder}: {error}; lower causal.features or raise sae.expansion") from error
    active = features["mean_active"].to_numpy(dtype=np.float64)
    return {
        Detector(feature, phone, control, config.steer * float(active[feature])): spoken
        for (feature, phone, spoken), control in zip(found, controls, strict=True)
    }


def _work(open_setting: Callable[[], Setting], detectors: Sequence[Detector], job: Job) -> pd.DataFrame:
    """The trials of one detector, or the patching, a row an utterance and condition."""
    detector, speech = job
    if isinstance(speech, Noisy):
        features, controls = [d.feature for d in detectors], [d.control for d in detectors]
        rows = patching_trial(open_setting(), *speech, features, controls)
    else:
        assert detector is not None
        rows = feature_trial(
            open_setting(), speech, detector.phone, detector.feature, detector.control, detector.length
        )
    return pd.DataFrame(rows, columns=list(Row._fields))


def _write(site: str, config: CausalConfig, trials: dict[Detector, pd.DataFrame], patched: pd.DataFrame) -> StageReport:
    found = {detector: feature_verdicts(rows, config) for detector, rows in trials.items()}
    verdicts = pd.DataFrame(
        [
            {**detector._asdict(), "intervention": name, "causal": beats_controls(verdict), **verdict}
            for detector, both in found.items()
            for name, verdict in both.items()
        ],
        columns=list(VERDICT_COLUMNS),
    )
    skipped = [
        f"feature {detector.feature}, {name}: fewer than {LEAST} eval utterances hold words {which} /{detector.phone}/"
        for detector, both in found.items()
        for name, which in (("ablate", "with"), ("steer", "without"))
        if name not in both
    ]
    together = feature_verdicts(pd.concat(list(trials.values())), config)
    table, gain = patching_table(patched, config), features_beat_controls(patched, config)
    details = {
        "site": site,
        "features": [_entry(detector, both) for detector, both in found.items()],
        "all_features": together,
        "patching": table.to_dict("records"),
        "patching_features_over_controls": gain._asdict(),
        "skipped": skipped,
        "settings": config.model_dump(mode="json"),
    }
    figures = {"patching": draw_patching(table, site, config.confidence, f"{config.noise}, {config.snr_db:g} dB")}
    if len(verdicts):
        figures["features"] = draw_features(verdicts, site, config.confidence)
    return _publish(site, details, verdicts, table, figures)


def _entry(detector: Detector, both: dict[str, dict[str, float]]) -> dict[str, Any]:
    """One feature's results; `effect` and `beats_controls` are those of ablating it."""
    ablated = both.get("ablate", {})
    return {
        **detector._asdict(),
        **{name: ablated.get(name, 0.0) for name in ("effect", "effect_low", "effect_high")},
        "beats_controls": bool(ablated) and beats_controls(ablated),
        "interventions": {name: {**verdict, "causal": beats_controls(verdict)} for name, verdict in both.items()},
    }


def _skip(site: str, reason: str) -> StageReport:
    """Write that nothing was tested, and why."""
    log.warning("causal@%s: %s", site, reason)
    details = {"site": site, "features": [], "skipped": [reason]}
    return _publish(site, details, pd.DataFrame(columns=list(VERDICT_COLUMNS)), pd.DataFrame(columns=["part"]), {})


def _publish(
    site: str, details: dict[str, Any], verdicts: pd.DataFrame, patching: pd.DataFrame, figures: dict[str, Figure]
) -> StageReport:
    write_json(paths.causal_json(site), details)
    for path, table in ((paths.causal_metrics(site), verdicts), (paths.patching_metrics(site), patching)):
        write_csv(path, table.assign(site=site)[["site", *table.columns]])
    with atomic_dir(paths.causal_plots(site)) as folder:
        for name, figure in figures.items():
            (folder / f"{name}.png").write_bytes(png(figure))
    metrics = {
        f"causal_{name}": float(rows["causal"].sum()) for name, rows in verdicts.groupby("intervention", sort=True)
    }
    parts = patching[~patching["part"].isin(["clean", "noisy"])]
    metrics |= {f"recovered.{row['part']}": row["recovered"] for row in parts.to_dict("records")}
    return StageReport(
        metrics={"tested": float(len(details["features"]))} | metrics,
        figures=[paths.causal_plots(site) / f"{name}.png" for name in figures],
    )
