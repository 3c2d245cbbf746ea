"""The causal study of one site: its phone detectors against controls, and patched parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope.causal.speech import TrialSpeech
from phonoscope.causal.tables import LEAST, beats_controls, feature_verdicts, features_beat_controls, patching_table
from phonoscope.causal.trials import Row, Setting, Spoken, feature_trial, patching_trial
from phonoscope.compute import derive_seed, parallel_map
from phonoscope.config.causal import CausalConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.sites import Site
from phonoscope.config.whisper import WhisperConfig
from phonoscope.sae import load_sae
from phonoscope.whisper.model import open_whisper

CANDIDATES = 20  # of the nearest density, from which a control is drawn
VERDICT_COLUMNS = [
    *("feature", "phone", "control", "intervention", "utterances", "words"),
    *(f"{name}{suffix}" for name in ("effect", "control_effect", "difference") for suffix in ("", "_low", "_high")),
    *("wer_clean", "wer", "control_wer", "causal"),
]


class Detector(NamedTuple):
    """A feature to be tested, and its control."""

    feature: int
    phone: str
    control: int
    length: float  # of the steering vector, in the units of the site's features


class CausalStudy(NamedTuple):
    """Results of one site; empty tables where nothing could be tested."""

    verdicts: pd.DataFrame  # a row a detector and intervention, `VERDICT_COLUMNS`
    patching: pd.DataFrame  # a row a part, see `patching_table`
    details: dict[str, Any]  # JSON-able; `skipped` has the reasons why something was not tested

    @property
    def metrics(self) -> dict[str, float]:
        """Tested features, causal ones by intervention, and the share that each part recovers."""
        causal = self.verdicts.groupby("intervention", sort=True)["causal"].sum()
        parts = self.patching[~self.patching["part"].isin(["clean", "noisy"])]
        return {
            "tested": float(len(self.details["features"])),
            **{f"causal_{name}": float(count) for name, count in causal.items()},
            **{f"recovered.{row['part']}": row["recovered"] for row in parts.to_dict("records")},
        }


def nothing_to_test(site: Site, reason: str) -> CausalStudy:
    details = {"site": site.name, "features": [], "skipped": [reason]}
    return CausalStudy(pd.DataFrame(columns=VERDICT_COLUMNS), pd.DataFrame(columns=["part"]), details)


def open_setting(site: Site, folder: Path, whisper: WhisperConfig, compute: ComputeConfig) -> Setting:
    """Open the model and the dictionary in `folder` for trials."""
    model = open_whisper(whisper.checkpoint, compute)
    return Setting(model, site, load_sae(folder, model.device), whisper.normalize, whisper.context_s)


def run_study(
    site: Site,
    phones: pd.DataFrame,
    features: pd.DataFrame,
    speech: TrialSpeech,
    config: CausalConfig,
    open_setting: Callable[[], Setting],
    *,
    workers: int = 1,
) -> CausalStudy:
    """Ablate and steer the best phone detectors, and patch clean activations into noisy speech.

    The interpretation's tables have the columns phone, feature, scored (`phones`) and feature, density, mean_active,
    detects (`features`). `open_setting` opens the model and the dictionary in every worker.
    Raises: `ValueError` if too few features are left as controls.
    """
    trials = choose_detectors(site, phones, features, speech, config)
    if not trials:
        return nothing_to_test(site, f"no phone has a detector and {LEAST} eval utterances")
    groups: dict[str, Any] = {"features": [one.feature for one in trials], "controls": [one.control for one in trials]}
    jobs: list[Callable[[Setting], list[Row]]] = [
        *(partial(feature_trial, spoken=spoken, **detector._asdict()) for detector, spoken in trials.items()),
        partial(patching_trial, trials=speech.noisy(config), **groups),
    ]
    *rows, patched = parallel_map(partial(_run, open_setting), jobs, workers=workers, description="causal")
    return summarise(site, config, dict(zip(trials, rows, strict=True)), patched)


def _run(open_setting: Callable[[], Setting], trial: Callable[[Setting], list[Row]]) -> pd.DataFrame:
    return pd.DataFrame(trial(open_setting()), columns=list(Row._fields))


def choose_detectors(
    site: Site, phones: pd.DataFrame, features: pd.DataFrame, speech: TrialSpeech, config: CausalConfig
) -> dict[Detector, list[Spoken]]:
    """The best phone detectors whose phone occurs in enough utterances, with controls, and these utterances."""
    best = phones[phones["scored"] & (phones["feature"] >= 0)].drop_duplicates("feature")
    usable = [
        (int(feature), str(phone), spoken)
        for feature, phone in zip(best["feature"], best["phone"], strict=True)
        if len(spoken := speech.with_phone(str(phone), config.utterances)) >= LEAST
    ][: config.features]
    chosen = [feature for feature, _, _ in usable]
    density = features["density"].to_numpy(dtype=np.float64)
    detecting = features.loc[features["detects"] != "", "feature"].tolist()
    controls = density_controls(chosen, density, detecting, derive_seed(config.seed, site.name))
    active = features["mean_active"].to_numpy(dtype=np.float64)
    return {
        Detector(feature, phone, control, config.steer * float(active[feature])): spoken
        for (feature, phone, spoken), control in zip(usable, controls, strict=True)
    }


def density_controls(
    chosen: Sequence[int], density: NDArray[np.floating], excluded: Collection[int], seed: int
) -> list[int]:
    """One control for each chosen feature, all different, from the live features of the nearest density (by ratio).

    `density` [width] is the share of frames where each feature is active. `excluded` and chosen ones are no controls.
    Raises: `ValueError` if fewer live features than chosen ones are left.
    """
    rng = np.random.default_rng(seed)
    barred = {*chosen, *excluded}
    free = [feature for feature in range(len(density)) if density[feature] > 0 and feature not in barred]
    if len(free) < len(chosen):
        raise ValueError(f"{len(free)} live features are left as controls for {len(chosen)}")
    controls = []
    for feature in chosen:
        # densities span orders of magnitude: twice as often is as far at 0.001 as at 0.1
        distance = np.abs(np.log(density[free]) - np.log(density[feature]))
        near = np.argsort(distance, kind="stable")[:CANDIDATES]
        controls.append(free.pop(int(rng.choice(near))))
    return controls


def summarise(
    site: Site, config: CausalConfig, trials: dict[Detector, pd.DataFrame], patched: pd.DataFrame
) -> CausalStudy:
    by_detector = {detector: feature_verdicts(rows, config) for detector, rows in trials.items()}
    verdicts = [
        {**detector._asdict(), "intervention": name, "causal": beats_controls(verdict), **verdict}
        for detector, both in by_detector.items()
        for name, verdict in both.items()
    ]
    skipped = [
        f"feature {detector.feature}, {name}: fewer than {LEAST} eval utterances hold words {which} /{detector.phone}/"
        for detector, both in by_detector.items()
        for name, which in (("ablate", "with"), ("steer", "without"))
        if name not in both
    ]
    table = patching_table(patched, config)
    details = {
        "site": site.name,
        "features": [_entry(*pair) for pair in by_detector.items()],
        "all_features": feature_verdicts(pd.concat(list(trials.values())), config),
        "patching": table.to_dict("records"),
        "patching_features_over_controls": features_beat_controls(patched, config)._asdict(),
        "skipped": skipped,
        "settings": config.model_dump(mode="json"),
    }
    return CausalStudy(pd.DataFrame(verdicts, columns=VERDICT_COLUMNS), table, details)


def _entry(detector: Detector, both: dict[str, dict[str, float]]) -> dict[str, Any]:
    """One feature's results; `effect` and `beats_controls` are those of ablating it."""
    ablated = both.get("ablate", {})
    return {
        **detector._asdict(),
        **{name: ablated.get(name, 0.0) for name in ("effect", "effect_low", "effect_high")},
        "beats_controls": bool(ablated) and beats_controls(ablated),
        "interventions": {name: {**verdict, "causal": beats_controls(verdict)} for name, verdict in both.items()},
    }
