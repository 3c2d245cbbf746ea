"""The headline numbers of the stages' tidy tables: nested mappings of scalars."""

from __future__ import annotations

from typing import Any

import pandas as pd

from phonoscope.report.probes import headline_measure

CLUSTER_METRICS = ("silhouette", "davies_bouldin")
ENCODER_METRICS = ["accuracy_word", "accuracy_speaker", "parameters", "input_bytes"]
VQ_METRICS = ("accuracy", "perplexity_train", "perplexity_eval", "active_codes_eval")
SAE_METRICS = ("fvu", "l0", "dead_share", "ce_recovered", "wer_clean", "wer_sae")
CODEC_METRICS = ("bitrate_bps", "si_sdr_db", "mel_distance_db", "stoi")
DEPTH_METRICS = {  # input and measure: of layer 1 where the name says so, else of the last layer
    "phone_mi_held_out_bits_layer_1": ("layer", "mi_held_out_bits"),
    "phone_mdl_compression_layer_1": ("layer", "mdl_compression"),
    "phone_selectivity_layer_1": ("layer", "selectivity"),
    "phone_macro_f1_cumulative": ("cumulative", "macro_f1"),
    "phone_macro_f1_latent": ("latent", "macro_f1"),
    "phone_mi_held_out_bits_untrained_layer_1": ("untrained", "mi_held_out_bits"),
}


def scalars(table: pd.DataFrame) -> dict[str, float]:
    """A table with the columns metric and value as a mapping."""
    return dict(zip(table["metric"].astype(str), table["value"].astype(float), strict=True))


def codec_headline(table: pd.DataFrame) -> dict[str, float]:
    """Bitrate, reconstruction from all layers, and each layer's perplexity.

    `table` has the columns layer (0: the whole codec; l: of reconstruction, the first l layers), metric, value and n.
    A score without clips (n = 0, as STOI of short clips) is left out.
    """
    rows = table[table["n"] > 0]
    whole = rows[rows["layer"].isin([0, table["layer"].max()]) & rows["metric"].isin(CODEC_METRICS)]
    return scalars(whole) | _by_layer(rows[rows["metric"] == "perplexity"].sort_values("layer"), "perplexity_")


def probe_headline(table: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """`[codec][task][layer_<l>]`: macro-F1 of classes, R2 of pitch. `table` is from `report.probes.table`."""
    rows = table[(table["probe"] == "linear") & (table["measure"] == table["task"].map(headline_measure))]
    return {
        str(codec): {str(task): _by_layer(layers) for task, layers in tasks.groupby("task", sort=False)}
        for codec, tasks in rows.groupby("codec", sort=False)
    }


def distillation_headline(distilled: pd.DataFrame) -> dict[str, float]:
    """Ratios of macro-F1 at RVQ layer 1: `<codec>_<task>_ratio`, with the ends `_low` and `_high`."""
    rows = distilled[(distilled["layer"] == 1) & (distilled["measure"] == "macro_f1") & distilled["ratio"].notna()]
    columns = {"ratio": "", "ratio_low": "_low", "ratio_high": "_high"}
    return {
        f"{row['codec']}_{row['task']}_ratio{suffix}": float(row[column])
        for row in rows.to_dict("records")
        for column, suffix in columns.items()
    }


def depth_headline(table: pd.DataFrame) -> dict[str, float]:
    """Phones in single layers, the sum of all, the latent, without training; what the table lacks is left out."""
    rows = table[(table["task"] == "phone") & (table["split"] == "utterances")]
    rows = rows[rows["probe"].isin(["linear", "table"])]
    numbers = {}
    for key, (name, measure) in DEPTH_METRICS.items():
        part = rows[(rows["input"] == name) & (rows["measure"] == measure)]
        part = part[part["layer"] == (1 if key.endswith("_layer_1") else part["layer"].max())]
        if len(part):
            numbers[key] = float(part["value"].iloc[0])
    return numbers


def geometry_headline(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """`[representation][silhouette_word, davies_bouldin_word]`: default view, full space, without single RVQ layers."""
    rows = table[(table["view"] == "notebook") & (table["space"] == "full") & (table["label"] == "word")]
    rows = rows[rows["metric"].isin(CLUSTER_METRICS) & ~rows["representation"].astype(str).str.startswith("layer_")]
    return _nested(rows.assign(metric=rows["metric"].astype(str) + "_word"), "representation")


def vq_headline(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """`[variant][metric]`: accuracy, and with a quantizer its perplexities and active codes; medians over seeds."""
    return _nested(table[table["metric"].isin(VQ_METRICS)], "variant")


def encoder_headline(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy of word and speaker, the mean over seeds, and the encoder's sizes."""
    return dict(table.groupby("metric")["value"].mean()[ENCODER_METRICS])


def sae_headline(scores: pd.DataFrame, interpretation: pd.DataFrame) -> dict[str, float]:
    """A site's reconstruction, its effect on Whisper, and the number of phones that a feature detects."""
    values, detected = scalars(scores), scalars(interpretation)
    return {name: values[name] for name in SAE_METRICS} | {"phones_with_auroc_90": detected["phones_with_auroc_90"]}


def flatten(nested: dict[str, Any]) -> dict[str, float]:
    """Nested scalars under dotted names."""
    values = pd.json_normalize(nested).iloc[0].items()
    return {str(name): float(value) for name, value in values if not isinstance(value, dict)}  # one without entries


def _by_layer(rows: pd.DataFrame, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}layer_{layer}": float(value) for layer, value in zip(rows["layer"], rows["value"], strict=True)}


def _nested(rows: pd.DataFrame, column: str) -> dict[str, dict[str, float]]:
    return {str(name): scalars(part) for name, part in rows.groupby(column, sort=False)}
