"""Interpretation of a site's features, from their activations and the frames' labels."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from phonoscope.compute import derive_seed
from phonoscope.data.phones import SILENCE
from phonoscope.sae.interpret.accents import accent_profiles, tsne, ward
from phonoscope.sae.interpret.accents import skip_reason as accents_skipped
from phonoscope.sae.interpret.effects import SKIPPED, detectable_effect, power_table, sex_effects
from phonoscope.sae.interpret.effects import skip_reason as sexes_skipped
from phonoscope.sae.interpret.forest import sex_forest
from phonoscope.sae.interpret.groups import KINDS, Groups, group, group_means, means_table
from phonoscope.sae.interpret.segments import segment_maxima, segment_starts
from phonoscope.sae.interpret.selectivity import auroc, feature_columns, phone_table, precision_at_k, selectivity
from phonoscope.sae.interpret.windows import top_windows, traces
from phonoscope.stats import evenly_spaced

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

    from phonoscope.config.interpret import InterpretConfig
    from phonoscope.sae.interpret.groups import Labels

log = logging.getLogger(__name__)
FRAME_S = 0.02
LABELS = ("utterance", "frame", "phone", "word", "speaker", "sex", "accent", "split")
HIGH_AUROC = 0.9
FEWEST_POINTS = 4  # in a map of features


@dataclass(frozen=True)
class AccentMap:
    """Ward's tree of the accents, and the utterances on a t-SNE map."""

    names: tuple[str, ...]
    tree: NDArray[np.float64]
    points: NDArray[np.float32]
    labels: Labels


@dataclass(frozen=True)
class Interpretation:
    """All results of a site; the tables are described in docs/sae.md."""

    features: pd.DataFrame
    phones: pd.DataFrame
    windows: pd.DataFrame
    means: pd.DataFrame
    power: pd.DataFrame
    forest: pd.DataFrame
    accents: AccentMap | None
    feature_map: pd.DataFrame
    scores: dict[str, float]
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Frames:
    """Activations and labels of the frames, and a mask of those that carry speech."""

    activations: sp.csr_array
    index: pd.DataFrame
    speech: NDArray[np.bool_]

    def groups(self, kind: str, *, most: int | None = None) -> Groups:
        """Groups of the speech frames; phones are groups of all frames."""
        rows = slice(None) if kind == "phone" else self.speech
        return group(self.index[kind][rows], most=most)

    def means(self, groups: Groups) -> NDArray[np.float64]:
        return group_means(self.activations[self.speech], groups)


def spread_utterances(index: pd.DataFrame, max_frames: int) -> NDArray[np.int64]:
    """Rows of every n-th utterance, at most about `max_frames` of them; all rows of a smaller corpus."""
    step = -(-len(index) // max_frames)
    number = pd.factorize(index["utterance"])[0]
    return np.flatnonzero(number % max(step, 1) == 0)


def interpret(
    activations: sp.csr_array, index: pd.DataFrame, config: InterpretConfig, *, workers: int = 1
) -> Interpretation:
    """Windows, selectivity, group means, effect sizes, accents and the forest of one site.

    Args:
        activations: [frames, features], not negative.
        index: one row a frame with the columns of `LABELS`, the frames of an utterance in ascending order.
    """
    speech = (index["phone"] != SILENCE).to_numpy() | config.silence
    frames = _Frames(activations, index.reset_index(drop=True), speech)
    windows = _windows(frames, config)
    features, phones = _selectivity(frames, config)
    skipped: dict[str, str] = {}
    effects, power, forest = _sexes(frames, config, skipped, workers)
    accents, loudest = _accents(frames, config, skipped)
    features = pd.concat([_activity(frames), features, effects.reset_index(drop=True)], axis=1)
    features["accent"] = loudest
    features["clips"] = np.isin(features["feature"], clip_features(features, config.clip_features))
    kinds = {kind: frames.groups(kind, most=config.words if kind == "word" else None) for kind in KINDS}
    means = pd.concat(
        [means_table(activations, {"phone": kinds.pop("phone")}), means_table(activations[speech], kinds)],
        ignore_index=True,
    )
    for statistic, reason in skipped.items():
        log.warning("%s: skipped, %s", statistic, reason)
    return Interpretation(
        features,
        phones,
        windows,
        means,
        power,
        forest,
        accents,
        _feature_map(means, features, config),
        _scores(frames, features, phones, forest, config),
        skipped,
    )


def _windows(frames: _Frames, config: InterpretConfig) -> pd.DataFrame:
    """Top windows of every feature with the labels of their highest frames, and the activations around these."""
    table = _top(frames.activations, frames.index, config)
    reach = round(config.clip_s / FRAME_S / 2)
    utterance, frame = _positions(frames.index)
    around = traces(frames.activations, utterance, frame, table, reach=reach)
    labels = frames.index.loc[table["row"], list(LABELS)].reset_index(drop=True)
    table = pd.concat([table, labels], axis=1)
    table["time_s"] = (table["frame"] * FRAME_S).round(6)
    table["clip_start_s"] = (table["time_s"] - reach * FRAME_S).round(6)
    table["trace"] = list(around)
    return table


def _top(activations: sp.csr_array, index: pd.DataFrame, config: InterpretConfig) -> pd.DataFrame:
    utterance, frame = _positions(index)
    apart = 2 * round(config.clip_s / FRAME_S / 2)
    return top_windows(activations, utterance, frame, k=config.top_k, apart=apart, per_utterance=config.per_utterance)


def _positions(index: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return pd.factorize(index["utterance"])[0].astype(np.int64), index["frame"].to_numpy(np.int64)


def _selectivity(frames: _Frames, config: InterpretConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Columns by feature, and the table of phones. Chosen on train, reported on eval, phone segments as the units."""
    train = (frames.index["split"] == "train").to_numpy()
    phones = group(frames.index["phone"], leave_out=("",) if config.silence else ("", SILENCE))
    starts = segment_starts(frames.index)
    peaks = segment_maxima(frames.activations, starts)
    areas = selectivity(peaks, Groups(phones.code[starts], phones.names), train[starts], fewest=config.min_segments)
    columns = feature_columns(areas)
    columns["auroc_frames"] = _frame_areas(frames.activations[~train], phones.of(~train), areas.best_phones())
    top = _top(frames.activations[~train], frames.index[~train], config)
    carried = frames.index["phone"].to_numpy(dtype=object)[~train]
    columns["precision"] = precision_at_k(top, carried, columns["best_phone"].to_numpy(dtype=object))
    density = frames.activations.count_nonzero(axis=0) / max(frames.activations.shape[0], 1)
    precision = [
        _precision_for(top[top["feature"] == feature], carried, phone)
        for phone, feature in zip(areas.phones, areas.detectors(), strict=True)
    ]
    return columns, phone_table(areas, np.array(precision), density)


def _frame_areas(activations: sp.csr_array, phones: Groups, best: NDArray[np.int64]) -> NDArray[np.float64]:
    """AUROC of every feature for its best phone with single frames as the units."""
    if not phones.names:
        return np.full(len(best), 0.5)
    return np.where(best >= 0, auroc(activations, phones)[np.arange(len(best)), best], 0.5)


def _precision_for(windows: pd.DataFrame, carried: Labels, phone: str) -> float:
    return float(np.mean(carried[windows["row"].to_numpy()] == phone)) if len(windows) else 0.0


def _activity(frames: _Frames) -> pd.DataFrame:
    """Density and activation of every feature."""
    activations, train = frames.activations, (frames.index["split"] == "train").to_numpy()
    fired = activations.count_nonzero(axis=0)
    densities = [
        rows.count_nonzero(axis=0) / max(rows.shape[0], 1) for rows in (activations[train], activations[~train])
    ]
    total = np.asarray(activations.sum(axis=0, dtype=np.float64))
    return pd.DataFrame(
        {
            "feature": np.arange(activations.shape[1], dtype=np.int32),
            "density": fired / max(activations.shape[0], 1),
            "density_train": densities[0],
            "density_eval": densities[1],
            "mean_active": total / np.maximum(fired, 1),
            "max": activations.max(axis=0).toarray().ravel(),
        }
    )


def _labels_of(frames: _Frames, groups: Groups, unit: str, kind: str) -> Labels:
    """Sex or accent of every speaker or utterance."""
    first = frames.index.drop_duplicates(unit).set_index(unit)[kind]
    return first.loc[list(groups.names)].astype(str).to_numpy()


def _utterances(frames: _Frames, most: int) -> Groups:
    """At most `most` utterances, evenly spaced, as groups of the speech frames."""
    every = frames.groups("utterance")
    kept = evenly_spaced(len(every.names), most)
    position = np.full(len(every.names) + 1, -1)
    position[kept] = np.arange(len(kept))
    return Groups(position[every.code], tuple(every.names[row] for row in kept))


def _sexes(
    frames: _Frames, config: InterpretConfig, skipped: dict[str, str], workers: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Effect sizes, power analysis and forest; `skipped` gets the reason of what cannot be computed."""
    speakers = frames.groups("speaker")
    sex = _labels_of(frames, speakers, "speaker", "sex").tolist()
    power = power_table(sex, alpha=config.alpha, power=config.power)
    if reason := sexes_skipped(sex):
        skipped["effects by sex"] = skipped["forest by sex"] = reason
        return pd.DataFrame(SKIPPED, index=np.arange(frames.activations.shape[1])), power, pd.DataFrame()
    for row in power[~power["enough"]].itertuples():
        log.warning(
            "Cohen's d of %s needs %s speakers of each sex at power %s; there are %s",
            *(row.d, row.speakers_per_sex, config.power, row.there),
        )
    effects = sex_effects(
        *(frames.means(speakers), sex),
        samples=config.bootstrap,
        confidence=config.confidence,
        seed=derive_seed(config.seed, "effects"),
    )
    return effects, power, _forest(frames, config, workers)


def _forest(frames: _Frames, config: InterpretConfig, workers: int) -> pd.DataFrame:
    utterances = _utterances(frames, config.forest_utterances)
    sex, speaker, split = (_labels_of(frames, utterances, "utterance", kind) for kind in ("sex", "speaker", "split"))
    known = np.isin(sex, ["F", "M"])
    return sex_forest(
        *(frames.means(utterances)[known], sex[known], speaker[known], split[known] == "train"),
        trees=config.trees,
        seed=derive_seed(config.seed, "forest") % 2**31,
        workers=workers,
    )


def _accents(frames: _Frames, config: InterpretConfig, skipped: dict[str, str]) -> tuple[AccentMap | None, Labels]:
    """The accents' tree and map, and the accent in which each feature is most active."""
    width = frames.activations.shape[1]
    speakers = frames.groups("speaker")
    accents = _labels_of(frames, speakers, "speaker", "accent")
    if reason := accents_skipped(accents.tolist()):
        skipped["accent profiles"] = reason
        return None, np.full(width, "", dtype=object)
    means = frames.means(speakers)
    names, profiles = accent_profiles(means, accents.tolist())
    by_accent = np.stack([means[accents == name].mean(axis=0) for name in names])
    loudest = np.where(by_accent.max(axis=0) > 0, np.array(names, dtype=object)[by_accent.argmax(axis=0)], "")
    utterances = _utterances(frames, config.map_points)
    points = tsne(frames.means(utterances), derive_seed(config.seed, "accents") % 2**31)
    labels = _labels_of(frames, utterances, "utterance", "accent")
    return AccentMap(names, ward(profiles), points, labels), loudest


def _feature_map(means: pd.DataFrame, features: pd.DataFrame, config: InterpretConfig) -> pd.DataFrame:
    """A t-SNE map of features by their mean activations over the phones: feature, x, y, best_phone; empty for few."""
    live = np.flatnonzero(features["best_phone"] != "")
    chosen = live[evenly_spaced(len(live), config.map_points)] if len(live) else live
    if len(chosen) < FEWEST_POINTS:
        return pd.DataFrame(columns=["feature", "x", "y", "best_phone"])
    profiles = means[means["kind"] == "phone"].pivot(index="feature", columns="group", values="mean")
    points = tsne(profiles.to_numpy(np.float64)[chosen], derive_seed(config.seed, "features") % 2**31)
    best = features["best_phone"].to_numpy()[chosen]
    return pd.DataFrame({"feature": chosen, "x": points[:, 0], "y": points[:, 1], "best_phone": best})


def clip_features(features: pd.DataFrame, most: int) -> NDArray[np.int64]:
    """Features that get clips: the phones' best detectors first, then the rest, each by AUROC; no dead ones."""
    live = features[features["density"] > 0]
    order = np.lexsort((live["feature"], -live["auroc"], live["detects"] == ""))
    return live["feature"].to_numpy(np.int64)[order[:most]]


def _scores(
    frames: _Frames, features: pd.DataFrame, phones: pd.DataFrame, forest: pd.DataFrame, config: InterpretConfig
) -> dict[str, float]:
    """The site's headline figures by name."""
    rows, width = frames.activations.shape
    scored = phones[phones["scored"]]
    high = int((scored["auroc"] > HIGH_AUROC).sum())
    speakers = frames.groups("speaker")
    sex = _labels_of(frames, speakers, "speaker", "sex").tolist()
    scores: dict[str, float] = {
        "frames": rows,
        "features": width,
        "dead": int((features["density"] == 0).sum()),
        "sparsity": 1 - float(frames.activations.count_nonzero()) / max(rows * width, 1),
        "phones": len(scored),
        "phones_with_auroc_90": high,
        "share_auroc_90": high / max(len(scored), 1),
        "median_phone_auroc": float(scored["auroc"].median()) if len(scored) else 0.5,
        "speakers": len(speakers.names),
        "effects_significant": int((features["d_q"] < config.alpha).sum()),
        "detectable_d": detectable_effect(sex, alpha=config.alpha, power=config.power),
    }
    for split_by, rows_of in forest.groupby("split_by") if len(forest) else []:
        scores[f"forest_balanced_accuracy_by_{split_by}"] = float(rows_of["balanced_accuracy"].iloc[0])
    return scores


def speakers_by(index: pd.DataFrame, kind: str) -> dict[str, int]:
    """Speakers of every sex or accent. An accent with one speaker cannot be told from that speaker."""
    pairs = index[["speaker", kind]].drop_duplicates()
    return {str(name): int(count) for name, count in sorted(pairs[kind].value_counts().items()) if count}
