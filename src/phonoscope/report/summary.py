"""The headline numbers out of the stages' tidy tables: nested mappings of scalars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from phonoscope.errors import DataError
from phonoscope.report.comparison import HEADLINE

CLUSTER_METRICS = ("silhouette", "davies_bouldin")
ENCODER_METRICS = ("accuracy_word", "accuracy_speaker", "parameters", "input_bytes")
VQ_METRICS = ("accuracy", "perplexity_train", "perplexity_eval", "active_codes_eval")
SAE_METRICS = ("fvu", "l0", "dead_share", "ce_recovered", "wer_clean", "wer_sae")
DEPTH_MEASURES = ("mi_bits", "mdl_compression", "selectivity")
DEPTH_INPUTS = ("cumulative", "latent")
CODEC_METRICS = ("bitrate_bps", "si_sdr_db", "mel_distance_db", "stoi")


def scalars(table: pd.DataFrame) -> dict[str, float]:
    """A table with the columns metric and value as a mapping."""
    _require(table, "metric", "value")
    return dict(zip(table["metric"].astype(str), table["value"].astype(float), strict=True))


def codec_headline(table: pd.DataFrame) -> dict[str, float]:
    """Bitrate, reconstruction from all layers, and each layer's perplexity.

    `table` has the columns layer, metric and value; layer 0 stands for the whole codec, and for reconstruction scores
    layer l for the first l layers. A score that no clip allowed (n = 0, as STOI on short clips) is left out.
    """
    _require(table, "layer", "metric", "value", "n")
    rows = table[table["n"] > 0]
    whole = rows[rows["layer"].isin([0, table["layer"].max()]) & rows["metric"].isin(CODEC_METRICS)]
    found = scalars(whole)
    perplexity = rows[rows["metric"] == "perplexity"].sort_values("layer")
    return found | _by_layer(perplexity, "perplexity_")


def probe_headline(table: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """`[codec][task][layer_<l>]`: macro-F1 of the classification tasks, R2 of pitch."""
    rows = table[table["metric"] == table["task"].map(HEADLINE)]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (codec, task), own in rows.groupby(["codec", "task"], sort=False):
        found.setdefault(str(codec), {})[str(task)] = _by_layer(own)
    return found


def depth_headline(table: pd.DataFrame) -> dict[str, float]:
    """What layer 1 holds of phones (bits, compression, selectivity), and what sums, latent and no training give.

    A measure or an input that was left out is left out here too.
    """
    _require(table, "task", "split", "input", "layer", "probe", "measure", "value")
    rows = table[(table["task"] == "phone") & (table["split"] == "utterances")]
    first = rows[(rows["layer"] == 1) & rows["probe"].isin(["linear", "table"])]
    found = {
        f"phone_{measure}_layer_1": _values(first[(first["input"] == "layer") & (first["measure"] == measure)])
        for measure in DEPTH_MEASURES
    }
    scored = rows[(rows["probe"] == "linear") & (rows["measure"] == "macro_f1")]
    for name in DEPTH_INPUTS:
        own = scored[scored["input"] == name]
        found[f"phone_macro_f1_{name}"] = _values(own[own["layer"] == own["layer"].max()])
    untrained = first[(first["input"] == "untrained") & (first["measure"] == "mi_bits")]
    found["phone_mi_bits_untrained_layer_1"] = _values(untrained)
    return {name: values[0] for name, values in found.items() if values}


def _values(rows: pd.DataFrame) -> list[float]:
    return [float(value) for value in rows["value"]]


def geometry_headline(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """`[representation]["silhouette_word"]` and `["davies_bouldin_word"]`: the default view, no projection.

    RVQ layers alone are left to the table.
    """
    _require(table, "view", "representation", "space", "label", "metric", "value")
    at_home = (table["view"] == "notebook") & (table["space"] == "full") & (table["label"] == "word")
    scored = at_home & table["metric"].isin(CLUSTER_METRICS)
    rows = table[scored & ~table["representation"].astype(str).str.startswith("layer_")]
    found: dict[str, dict[str, float]] = {}
    for name, metric, value in zip(rows["representation"], rows["metric"], rows["value"], strict=True):
        found.setdefault(str(name), {})[f"{metric}_word"] = float(value)
    return found


def vq_headline(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """`[variant][metric]`: accuracy, and with a quantizer its perplexities and active codes; medians over seeds."""
    _require(table, "variant", "metric", "value")
    rows = table[table["metric"].isin(VQ_METRICS)]
    found: dict[str, dict[str, float]] = {}
    for variant, metric, value in zip(rows["variant"], rows["metric"], rows["value"], strict=True):
        found.setdefault(str(variant), {})[str(metric)] = float(value)
    return found


def encoder_headline(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy of word and speaker, the mean over seeds, and the encoder's sizes."""
    _require(table, "seed", "metric", "value")
    means = table.groupby("metric", sort=False)["value"].mean()
    return {name: float(means[name]) for name in ENCODER_METRICS}


def sae_headline(scores: pd.DataFrame, interpretation: pd.DataFrame) -> dict[str, float]:
    """A site's reconstruction, its effect on Whisper, and how many phones have a feature that detects them."""
    found, known = scalars(scores), scalars(interpretation)
    return {name: found[name] for name in SAE_METRICS} | {"phones_with_auroc_90": known["phones_with_auroc_90"]}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested scalars under dotted names."""
    flat: dict[str, float] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: float(value)}
    return flat


def _by_layer(rows: pd.DataFrame, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}layer_{layer}": float(value) for layer, value in zip(rows["layer"], rows["value"], strict=True)}


def _require(table: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(f"a metrics table lacks the column {missing[0]!r}; there are {', '.join(map(str, table))}")
