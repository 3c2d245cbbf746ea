"""The causal study of one site: its phone detectors against controls, and patched parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from phonoscope.causal.speech import TrialSpeech
from phonoscope.causal.tables import (
    LEAST,
    Comparison,
    feature_verdicts,
    judge,
    patched_features_verdict,
    patching_table,
)
from phonoscope.causal.trials import Controls, Row, Setting, Spoken, clean_trial, feature_trial, patching_trial
from phonoscope.compute import derive_seed, parallel_map
from phonoscope.config.causal import CausalConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.sites import Site
from phonoscope.config.whisper import WhisperConfig
from phonoscope.sae import load_sae
from phonoscope.whisper.model import open_whisper

HEARD_AT_ONCE = 15  # utterances; fixed, since the last bits of a batch's results depend on its size
VERDICT_COLUMNS = [
    *("feature", "phone", "controls", "intervention", "words", "utterances", "speakers"),
    *("effect", "effect_low", "effect_high", "control_effect", "control_lowest", "control_highest"),
    *("difference", "difference_low", "difference_high", "difference_speaker_low", "difference_speaker_high"),
    *("p", "q", "beats_controls", "verdict", "wer_clean", "wer"),
]


class Detector(NamedTuple):
    """A feature to be tested."""

    feature: int
    phone: str
    length: float  # of the steering vector, in the units of the site's features


class CausalStudy(NamedTuple):
    """Results of one site; empty tables where nothing could be tested."""

    verdicts: pd.DataFrame  # a row a detector and intervention, `VERDICT_COLUMNS`
    patching: pd.DataFrame  # a row a part, see `patching_table`
    details: dict[str, Any]  # JSON-able; `skipped` has the reasons why something was not tested

    @property
    def metrics(self) -> dict[str, float]:
        """Tested features, causal ones by intervention, the share that each part recovers, and the speech used."""
        causal = (self.verdicts["verdict"] == "causal").groupby(self.verdicts["intervention"], sort=True).sum()
        parts = self.patching[~self.patching["part"].isin(["clean", "noisy"])]
        return {
            "tested": float(len(self.details["features"])),
            **{f"causal_{name}": float(count) for name, count in causal.items()},
            **{f"recovered.{row['part']}": row["recovered"] for row in parts.to_dict("records")},
            **{f"utterances.{name}": float(count) for name, count in self.details["utterances"].items()},
        }


def nothing_to_test(site: Site, reason: str, utterances: dict[str, int] | None = None) -> CausalStudy:
    details = {"site": site.name, "features": [], "skipped": [reason], "utterances": utterances or {}}
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

    The interpretation's tables have the columns phone, feature, scored, auroc_train (`phones`) and feature,
    mean_active, detects (`features`). `open_setting` opens the model and the dictionary in every worker.
    """
    run = partial(parallel_map, partial(_run, open_setting), workers=workers)
    pool = speech.pool(config.pool)
    parts = [pool[start : start + HEARD_AT_ONCE] for start in range(0, len(pool), HEARD_AT_ONCE)]
    clean = run([partial(clean_trial, spoken=part) for part in parts], description="clean speech")
    speech = speech.only(understood(clean, config.max_wer))
    counts = {"understood": len(speech), "left_out": len(pool) - len(speech)}
    trials = choose_detectors(phones, features, speech, config)
    if not trials:
        reason = f"no phone has a detector and {LEAST} eval utterances that Whisper understands (max_wer)"
        return nothing_to_test(site, reason, counts)
    detecting = features.loc[features["detects"] != "", "feature"].tolist()
    barred = tuple({*detecting, *(one.feature for one in trials)})
    controls = Controls(config.controls, barred, derive_seed(config.seed, site.name))
    jobs: list[Callable[[Setting], list[Row]]] = [
        *(partial(feature_trial, spoken=one, controls=controls, **which._asdict()) for which, one in trials.items()),
        partial(
            patching_trial, trials=speech.noisy(config), features=[one.feature for one in trials], controls=controls
        ),
    ]
    *rows, patched = run(jobs, description="causal")
    return summarise(site, config, dict(zip(trials, rows, strict=True)), patched, counts)


def _run(open_setting: Callable[[], Setting], trial: Callable[[Setting], list[Row]]) -> pd.DataFrame:
    return pd.DataFrame(trial(open_setting()), columns=list(Row._fields))


def understood(clean: Sequence[pd.DataFrame], max_wer: float) -> set[str]:
    """Names of the utterances with at most `max_wer` word errors per word in the clean run."""
    return {name for rows in clean for name in rows.loc[rows["errors"] <= max_wer * rows["words"], "utterance"]}


def choose_detectors(
    phones: pd.DataFrame, features: pd.DataFrame, speech: TrialSpeech, config: CausalConfig
) -> dict[Detector, list[Spoken]]:
    """The best phone detectors whose phone occurs in enough utterances, and these utterances.

    Ranked by their areas on train, since the trials are on eval.
    """
    ranked = phones[phones["scored"] & (phones["feature"] >= 0)].sort_values(
        ["auroc_train", "phone"], ascending=[False, True]
    )
    active = features.set_index("feature")["mean_active"]
    chosen: dict[Detector, list[Spoken]] = {}
    for row in ranked.drop_duplicates("feature").to_dict("records"):
        spoken = speech.with_phone(row["phone"], config) if len(chosen) < config.features else []
        if len(spoken) >= LEAST:
            feature = int(row["feature"])
            chosen[Detector(feature, str(row["phone"]), config.steer * float(active[feature]))] = spoken
    return chosen


def summarise(
    site: Site,
    config: CausalConfig,
    trials: dict[Detector, pd.DataFrame],
    patched: pd.DataFrame,
    utterances: dict[str, int],
) -> CausalStudy:
    """Verdicts, tables and details from the rows of all trials."""
    by_detector = {detector: feature_verdicts(rows, config) for detector, rows in trials.items()}
    features = patched_features_verdict(patched, config)
    judge([*(one for both in by_detector.values() for one in both.values()), features], config.alpha)
    verdicts = [
        {**detector._asdict(), "controls": _control_names(trials[detector]), "intervention": name, **verdict}
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
        "features": [_entry(detector, trials[detector], both) for detector, both in by_detector.items()],
        "all_features": feature_verdicts(pd.concat(list(trials.values())), config),
        "patching": table.astype(object).where(table.notna(), None).to_dict("records"),
        "patching_features_over_controls": features,
        "utterances": utterances,
        "skipped": skipped,
        "settings": config.model_dump(mode="json"),
    }
    return CausalStudy(pd.DataFrame(verdicts, columns=VERDICT_COLUMNS), table, details)


def _control_names(rows: pd.DataFrame) -> str:
    """Names of the controls in the order of their draws: `random`, or the number of another feature."""
    return " ".join(rows[rows["draw"] > 0].drop_duplicates("draw")["control"])


def _entry(detector: Detector, rows: pd.DataFrame, both: dict[str, Comparison]) -> dict[str, Any]:
    """One feature's results; `effect` and `verdict` are those of ablating it."""
    ablated = both.get("ablate", {})
    return {
        **detector._asdict(),
        "controls": _control_names(rows),
        **{name: ablated.get(name) for name in ("effect", "effect_low", "effect_high", "verdict")},
        "interventions": both,
    }
