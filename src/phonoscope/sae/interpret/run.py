"""Interpretation of a site's features, from their activations and the frames' labels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage

from phonoscope.compute import derive_seed
from phonoscope.config.interpret import InterpretConfig
from phonoscope.data.phones import SILENCE
from phonoscope.sae.interpret import speakers
from phonoscope.sae.interpret.baselines import HIGH_AUROC
from phonoscope.sae.interpret.groups import KINDS, Groups, Labels, group, group_means, means_table
from phonoscope.sae.interpret.selectivity import area_at, auroc, feature_columns, phone_table, precision, selectivity
from phonoscope.sae.interpret.windows import Places, segment_maxima, segment_starts, top_windows, traces
from phonoscope.stats import evenly_spaced

log = logging.getLogger(__name__)
FRAME_S = 0.02
LABELS = ("utterance", "frame", "phone", "word", "speaker", "sex", "accent", "split")


@dataclass(frozen=True)
class AccentMap:
    """Ward's tree of the accents, SciPy's linkage matrix, and the utterances on a t-SNE map."""

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
    skipped: dict[str, str]


@dataclass(frozen=True)
class _Frames:
    """Activations and labels of the frames, and a mask of those that carry speech."""

    activations: sp.csr_array
    index: pd.DataFrame
    speech: NDArray[np.bool_]

    @cached_property
    def train(self) -> NDArray[np.bool_]:
        return (self.index["split"] == "train").to_numpy()

    @cached_property
    def places(self) -> Places:
        return pd.factorize(self.index["utterance"])[0].astype(np.int64), self.index["frame"].to_numpy(np.int64)

    @cached_property
    def speakers(self) -> Groups:
        return self.groups("speaker")

    def of(self, rows: NDArray[np.bool_]) -> _Frames:
        return _Frames(self.activations[rows], self.index[rows].reset_index(drop=True), self.speech[rows])

    def groups(self, kind: str, *, most: int | None = None) -> Groups:
        """Groups of the speech frames; phones are groups of all frames."""
        rows = slice(None) if kind == "phone" else self.speech
        return group(self.index[kind][rows], most=most)

    def utterances(self, most: int) -> Groups:
        """At most `most` utterances, evenly spaced, as groups of the speech frames."""
        every = self.groups("utterance")
        kept = evenly_spaced(len(every.names), most)
        position = np.full(len(every.names) + 1, -1)
        position[kept] = np.arange(len(kept))
        return Groups(position[every.code], tuple(every.names[row] for row in kept))

    def means(self, groups: Groups) -> NDArray[np.float64]:
        return group_means(self.activations[self.speech], groups)

    def labels(self, unit: str, groups: Groups, kind: str) -> Labels:
        """Sex, accent ... of every speaker or utterance, the groups of `unit`."""
        first = self.index.drop_duplicates(unit).set_index(unit)[kind]
        return first.loc[list(groups.names)].astype(str).to_numpy()


def spread_utterances(index: pd.DataFrame, max_frames: int) -> NDArray[np.int64]:
    """Rows of every n-th utterance, at most about `max_frames` of them; all rows of a smaller corpus."""
    step = -(-len(index) // max_frames)
    return np.flatnonzero(pd.factorize(index["utterance"])[0] % max(step, 1) == 0)


def interpret(
    activations: sp.csr_array, index: pd.DataFrame, config: InterpretConfig, *, workers: int = 1
) -> Interpretation:
    """Windows, selectivity, group means, effect sizes, accents and the forest of one site.

    activations: [frames, features], not negative. index: a row a frame with the columns of `LABELS`, the frames of an
    utterance in ascending order.
    """
    speech = (index["phone"] != SILENCE).to_numpy() | config.silence
    frames = _Frames(activations, index.reset_index(drop=True), speech)
    skipped: dict[str, str] = {}
    features = _activity(frames)
    columns, phones = _selectivity(frames, features["density"].to_numpy(), config)
    by_sex, power, forest = _sexes(frames, config, skipped, workers)
    accent_map, loudest = _accents(frames, config, skipped)
    features = pd.concat([features, columns, by_sex], axis=1)
    features["accent"] = loudest
    features["clips"] = np.isin(features["feature"], clip_features(features, config.clip_features))
    kinds = {kind: frames.groups(kind, most=config.words if kind == "word" else None) for kind in KINDS}
    by_phone = means_table(activations, {"phone": kinds.pop("phone")})
    means = pd.concat([by_phone, means_table(activations[speech], kinds)], ignore_index=True)
    for statistic, reason in skipped.items():
        log.warning("%s: skipped, %s", statistic, reason)
    windows, feature_map = _windows(frames, config), _feature_map(means, features, config)
    scores = _scores(frames, features, phones, forest, config)
    return Interpretation(features, phones, windows, means, power, forest, accent_map, feature_map, scores, skipped)


def _windows(frames: _Frames, config: InterpretConfig) -> pd.DataFrame:
    """Top windows of every feature with the labels of their highest frames, and the activations around these."""
    table = _top(frames, config)
    reach = round(config.clip_s / FRAME_S / 2)
    around = traces(frames.activations, frames.places, table, reach=reach)
    labels = frames.index.loc[table["row"], list(LABELS)].reset_index(drop=True)
    table = pd.concat([table, labels], axis=1)
    table["time_s"] = (table["frame"] * FRAME_S).round(6)
    table["clip_start_s"] = (table["time_s"] - reach * FRAME_S).round(6)
    table["trace"] = list(around)
    return table


def _top(frames: _Frames, config: InterpretConfig) -> pd.DataFrame:
    size = {"k": config.top_k, "apart": 2 * round(config.clip_s / FRAME_S / 2)}
    return top_windows(frames.activations, frames.places, **size, per_utterance=config.per_utterance)


def _selectivity(
    frames: _Frames, density: NDArray[np.float64], config: InterpretConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Columns by feature, and the table of phones. Chosen on train, reported on eval, phone segments as the units."""
    phones = group(frames.index["phone"], leave_out=("",) if config.silence else ("", SILENCE))
    # frames of one phone are alike: as units they would count a long vowel as dozens of successes
    starts = segment_starts(frames.index)
    peaks = segment_maxima(frames.activations, starts)
    areas = selectivity(peaks, phones.of(starts), frames.train[starts], fewest=config.min_segments)
    columns, held_out = feature_columns(areas), frames.of(~frames.train)
    by_frame = auroc(held_out.activations, phones.of(~frames.train))
    columns["auroc_frames"] = area_at(by_frame, areas.best_phones())
    top, carried = _top(held_out, config), held_out.index["phone"].to_numpy(dtype=object)
    columns["precision"] = precision(top, carried, columns.index.to_numpy(), columns["best_phone"].to_numpy())
    return columns, phone_table(areas, precision(top, carried, areas.detectors(), areas.phones), density)


def _activity(frames: _Frames) -> pd.DataFrame:
    values = frames.activations
    sides = {"density": values, "density_train": values[frames.train], "density_eval": values[~frames.train]}
    table = pd.DataFrame({"feature": np.arange(values.shape[1], dtype=np.int32)})
    for name, rows in sides.items():
        table[name] = rows.count_nonzero(axis=0) / max(rows.shape[0], 1)
    total = np.asarray(values.sum(axis=0, dtype=np.float64))
    table["mean_active"] = total / np.maximum(values.count_nonzero(axis=0), 1)
    table["max"] = values.max(axis=0).toarray().ravel()
    return table


def _sexes(
    frames: _Frames, config: InterpretConfig, skipped: dict[str, str], workers: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Effect sizes, power analysis and forest; `skipped` gets the reason of what cannot be computed."""
    sex = frames.labels("speaker", frames.speakers, "sex").tolist()
    power = speakers.power_table(sex, alpha=config.alpha, power=config.power)
    if reason := speakers.sexes_skipped(sex):
        skipped["effects by sex"] = skipped["forest by sex"] = reason
        return pd.DataFrame(speakers.SKIPPED, index=np.arange(frames.activations.shape[1])), power, pd.DataFrame()
    for row in power[~power["enough"]].itertuples():
        needs = "a standardised difference d of %s needs %s speakers of each sex at power %s; there are %s"
        log.warning(needs, row.d, row.speakers_per_sex, config.power, row.there)
    effects = speakers.sex_effects(frames.means(frames.speakers), sex, confidence=config.confidence)
    return effects, power, _forest(frames, config, workers)


def _forest(frames: _Frames, config: InterpretConfig, workers: int) -> pd.DataFrame:
    utterances = frames.utterances(config.forest_utterances)
    sex, speaker, split = (frames.labels("utterance", utterances, kind) for kind in ("sex", "speaker", "split"))
    known = np.isin(sex, ["F", "M"])
    data = frames.means(utterances)[known], sex[known], speaker[known], split[known] == "train"
    seed = derive_seed(config.seed, "forest") % 2**31
    return speakers.sex_forest(*data, trees=config.trees, seed=seed, workers=workers)


def _accents(frames: _Frames, config: InterpretConfig, skipped: dict[str, str]) -> tuple[AccentMap | None, Labels]:
    """The accents' tree and map, and the accent in which each feature is most active."""
    accent = frames.labels("speaker", frames.speakers, "accent")
    if reason := speakers.accents_skipped(accent.tolist()):
        skipped["accent profiles"] = reason
        return None, np.full(frames.activations.shape[1], "", dtype=object)
    means = frames.means(frames.speakers)
    names, profiles = speakers.accent_profiles(means, accent.tolist())
    by_accent = np.stack([means[accent == name].mean(axis=0) for name in names])
    loudest = np.where(by_accent.max(axis=0) > 0, np.array(names, dtype=object)[by_accent.argmax(axis=0)], "")
    utterances = frames.utterances(config.map_points)
    points = speakers.tsne(frames.means(utterances), derive_seed(config.seed, "accents") % 2**31)
    tree, labels = linkage(profiles, method="ward"), frames.labels("utterance", utterances, "accent")
    return AccentMap(names, tree, points, labels), loudest


def _feature_map(means: pd.DataFrame, features: pd.DataFrame, config: InterpretConfig) -> pd.DataFrame:
    """A t-SNE map of features by their mean activations over the phones: feature, x, y, best_phone; empty for few."""
    live = np.flatnonzero(features["best_phone"] != "")
    chosen = live[evenly_spaced(len(live), config.map_points)]
    if len(chosen) < 4:
        return pd.DataFrame(columns=["feature", "x", "y", "best_phone"])
    profiles = means[means["kind"] == "phone"].pivot(index="feature", columns="group", values="mean")
    points = speakers.tsne(profiles.to_numpy(np.float64)[chosen], derive_seed(config.seed, "features") % 2**31)
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
    rows, width = frames.activations.shape
    scored = phones[phones["scored"]]
    high = int((scored["auroc"] > HIGH_AUROC).sum())
    sex = frames.labels("speaker", frames.speakers, "sex").tolist()
    scores: dict[str, float] = {
        "frames": rows,
        "features": width,
        "dead": int((features["density"] == 0).sum()),
        "sparsity": 1 - float(frames.activations.count_nonzero()) / max(rows * width, 1),
        "phones": len(scored),
        "phones_with_auroc_90": high,
        "share_auroc_90": high / max(len(scored), 1),
        "median_phone_auroc": float(scored["auroc"].median()) if len(scored) else 0.5,
        "speakers": len(sex),
        "effects_significant": int((features["g_q"] < config.alpha).sum()),
        "detectable_d": speakers.detectable_effect(sex, alpha=config.alpha, power=config.power),
    }
    for split_by, rows_of in forest.groupby("split_by") if len(forest) else []:
        scores[f"forest_balanced_accuracy_by_{split_by}"] = float(rows_of["balanced_accuracy"].iloc[0])
    return scores


def speakers_by(index: pd.DataFrame, kind: str) -> dict[str, int]:
    """Speakers of every sex or accent. An accent with one speaker cannot be told from that speaker."""
    counts = index.groupby(kind, observed=True)["speaker"].nunique()
    return {str(name): int(count) for name, count in sorted(counts.items())}
