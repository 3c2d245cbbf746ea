"""The page that shows the features of a site: its data as one script, since a page opened from disk fetches no file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ASSETS = Path(__file__).parent / "assets"
WORDS = 12  # listed of each feature, those of the highest mean activation first
Tables = Mapping[str, pd.DataFrame]


def page_data(site: str, tables: Tables, notes: Mapping[str, Any], clip_s: float, frame_s: float) -> dict[str, Any]:
    """The page's data in columns; texts that repeat stand once and are referred to by their position.

    tables: features, windows and means of an interpretation; causal (feature, difference and its interval, causal).
    notes: scores and skipped of an interpretation. clip_s: length of the clips in seconds. frame_s: time between two
    frames in seconds; 0 if they are positions in a text.
    """
    features, windows, means, count = tables["features"], tables["windows"], tables["means"], len(tables["features"])
    spoken = means[means["kind"] == "phone"]
    phones, words = sorted({*spoken["group"], *windows["phone"], ""} - {None}), sorted({*windows["word"]})
    utterances = windows.drop_duplicates("utterance").sort_values("utterance")
    texts = {"utterance": utterances["utterance"].astype(str).tolist(), "phone": phones, "word": words}
    clips = windows[windows["feature"].isin(features.loc[features["clips"], "feature"])]
    return {
        "site": site,
        "clip_s": clip_s,
        "frame_s": frame_s,
        "scores": {name: _short(value) for name, value in notes["scores"].items()},
        "skipped": dict(notes["skipped"]),
        "phones": phones,
        "words": words,
        "utterances": utterances[["utterance", "speaker", "sex", "accent", "split"]].astype(str).to_numpy().tolist(),
        "features": _feature_columns(features, tables["causal"]),
        "means": {kind: _means(means, kind, count) for kind in ("phone", "sex", "accent")},
        "loud_words": _top_words(means, count),
        "windows": _windows(windows, count, texts),
        "traces": {str(name): [_shorten(trace) for trace in part] for name, part in clips.groupby("feature")["trace"]},
    }


def write_page(folder: Path, data: Mapping[str, Any], clips: Path | None) -> None:
    """Write the page, its style and script, its data and a copy of the folder of clips into `folder`."""
    for asset in sorted(ASSETS.iterdir()):
        shutil.copyfile(asset, folder / asset.name)
    (folder / "data.js").write_text(script(data), encoding="utf-8")
    if clips is not None:
        shutil.copytree(clips, folder / "clips", copy_function=shutil.copyfile)


def script(data: Mapping[str, Any]) -> str:
    """The data as a script that defines DATA; the same text each time."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return f"const DATA = {text};\n"


def _short(value: float) -> float:
    return float(f"{float(value):.4g}")


def _shorten(values: Iterable[float]) -> list[float]:
    return [_short(value) for value in values]


def _feature_columns(features: pd.DataFrame, causal: pd.DataFrame) -> dict[str, list[Any]]:
    numbers = ("density", "mean_active", "auroc", "auroc_train", "precision", "g", "g_low", "g_high", "g_q")
    columns: dict[str, list[Any]] = {name: _shorten(features[name]) for name in numbers}
    columns |= {name: features[name].tolist() for name in ("best_phone", "detects", "accent")}
    tested = causal.set_index("feature")
    for name in ("difference", "difference_low", "difference_high", "causal"):
        effects = (tested[name] if name == "causal" else tested[name].map(_short)).to_dict()
        columns[name] = [effects.get(feature) for feature in features["feature"]]
    return columns | {"clips": features["clips"].astype(int).tolist()}


def _table(means: pd.DataFrame, kind: str, count: int) -> tuple[list[str], NDArray[np.float64]]:
    """Groups of a kind, and the mean activation of each feature over each, [features, groups]."""
    rows = means[means["kind"] == kind]
    groups = rows["group"].drop_duplicates().tolist()
    return groups, rows["mean"].to_numpy().reshape(len(groups), count).T


def _means(means: pd.DataFrame, kind: str, count: int) -> dict[str, Any]:
    groups, table = _table(means, kind, count)
    return {"groups": groups, "values": [_shorten(row) for row in table]}


def _top_words(means: pd.DataFrame, count: int) -> list[list[Any]]:
    """For each feature the words with the highest mean activation, each with it."""
    words, table = _table(means, "word", count)
    tops = np.argsort(-table, axis=1, kind="stable")[:, :WORDS]
    rows = zip(table, tops, strict=True)
    return [[[words[word], _short(row[word])] for word in top if row[word] > 0] for row, top in rows]


def _windows(windows: pd.DataFrame, count: int, texts: Mapping[str, list[str]]) -> list[list[Any]]:
    """For each feature its windows: utterance, frame, activation, phone, word; texts by position."""
    places = (pd.Index(known).get_indexer(pd.Index(windows[name].astype(str))) for name, known in texts.items())
    utterance, phone, word = places
    columns = utterance.tolist(), windows["frame"].tolist(), _shorten(windows["value"]), phone.tolist(), word.tolist()
    rows: list[list[Any]] = [[] for _ in range(count)]
    for feature, row in zip(windows["feature"], zip(*columns, strict=True), strict=True):
        rows[feature].append(list(row))
    return rows
