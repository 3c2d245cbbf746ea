"""The headline numbers of the stages' tidy tables: nested mappings of scalars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from phonoscope.errors import DataError
from phonoscope.report.probes import headline_measure

CLUSTER_METRICS = ("silhouette", "davies_bouldin")
ENCODER_METRICS = ("accuracy_word", "accuracy_speaker", "parameters", "input_bytes")
VQ_METRICS = ("accuracy", "perplexity_train", "perplexity_eval", "active_codes_eval")
SAE_METRICS = ("fvu", "l0", "dead_share", "ce_recovered", "wer_clean", "wer_sae")
DEPTH_MEASURES = ("mi_bits", "mdl_compression", "selectivity")
CODEC_METRICS = ("bitrate_bps", "si_sdr_db", "mel_distance_db", "stoi")


def scalars(table: pd.DataFrame) -> dict[str, float]:
    """A table with the columns metric and value as a mapping."""
    _require(table, "metric", "value")
    return dict(zip(table["metric"].astype(str), table["value"].astype(float), strict=True))


def codec_headline(table: pd.DataFrame) -> dict[str, float]:
    """Bitrate, reconstruction from all layers, and each layer's perplexity.

    `table` has the columns layer, metric, value and n; layer 0 stands for the whole codec, and for reconstruction
    scores layer l for the first l layers. A score without clips (n = 0, as STOI of short clips) is left out.
    """
    _require(table, "layer", "metric", "value", "n")
    rows = table[table["n"] > 0]
    whole = rows[rows["layer"].isin([0, table["layer"].max()]) & rows["metric"].isin(CODEC_METRICS)]
    perplexity = rows[rows["metric"] == "perplexity"].sort_values("layer")
    return scalars(whole) | _by_layer(perplexity, "perplexity_")


def probe_headline(table: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """`[codec][task][layer_<l>]`: macro-F1 of classes, R2 of pitch. `table` is from `report.probes.table`."""
    rows = table[(table["probe"] == "linear") & (table["measure"] == table["task"].map(headline_measure))]
    headline: dict[str, dict[str, dict[str, float]]] = {}
    for (codec, task), layers in rows.groupby(["codec", "task"], sort=False):
        headline.setdefault(str(codec), {})[str(task)] = _by_layer(layers)
    return headline


def distillation_headline(table: pd.DataFrame) -> dict[str, float]:
    """Ratios of macro-F1 at RVQ layer 1 with their intervals; those without a ratio are left out.

    `table` is from `report.probes.distillation`. Keys: `<codec>_<task>_ratio`, `…_low`, `…_high`, `…_p_over_1_1`.
    """
    rows = table[(table["layer"] == 1) & (table["measure"] == "macro_f1") & table["ratio"].notna()]
    columns = {"ratio": "", "ratio_low": "_low", "ratio_high": "_high", "p_over_1_1": "_p_over_1_1"}
    return {
        f"{row['codec']}_{row['task']}_ratio{suffix}": float(row[column])
        for row in rows.to_dict("records")
        for column, suffix in columns.items()
    }


def depth_headline(table: pd.DataFrame) -> dict[str, float]:
    """Phones in layer 1 (bits, compression, selectivity), in the sum of all layers, the latent and without training.

    A measure or an input that the table lacks is left out.
    """
    _require(table, "task", "split", "input", "layer", "probe", "measure", "value")
    rows = table[(table["task"] == "phone") & (table["split"] == "utterances")]
    rows = rows[rows["probe"].isin(["linear", "table"])].set_index(["input", "measure"]).sort_index()

    def chosen() -> Iterator[tuple[str, pd.DataFrame]]:
        for name, measure, key in (
            *(("layer", measure, f"phone_{measure}_layer_1") for measure in DEPTH_MEASURES),
            *((name, "macro_f1", f"phone_macro_f1_{name}") for name in ("cumulative", "latent")),
            ("untrained", "mi_bits", "phone_mi_bits_untrained_layer_1"),
        ):
            if (name, measure) in rows.index:
                part = rows.loc[[(name, measure)]]
                yield key, part[part["layer"] == (1 if key.endswith("_layer_1") else part["layer"].max())]

    return {key: float(part["value"].iloc[0]) for key, part in chosen() if len(part)}


def geometry_headline(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """`[representation]["silhouette_word"]` and `["davies_bouldin_word"]`: the default view, in the full space.

    Single RVQ layers are left out.
    """
    _require(table, "view", "representation", "space", "label", "metric", "value")
    rows = table[(table["view"] == "notebook") & (table["space"] == "full") & (table["label"] == "word")]
    rows = rows[rows["metric"].isin(CLUSTER_METRICS) & ~rows["representation"].astype(str).str.startswith("layer_")]
    return _nested(rows.assign(metric=rows["metric"].astype(str) + "_word"), "representation")


def vq_headline(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """`[variant][metric]`: accuracy, and with a quantizer its perplexities and active codes; medians over seeds."""
    _require(table, "variant", "metric", "value")
    return _nested(table[table["metric"].isin(VQ_METRICS)], "variant")


def encoder_headline(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy of word and speaker, the mean over seeds, and the encoder's sizes."""
    _require(table, "seed", "metric", "value")
    means = table.groupby("metric", sort=False)["value"].mean()
    return {name: float(means[name]) for name in ENCODER_METRICS}


def sae_headline(scores: pd.DataFrame, interpretation: pd.DataFrame) -> dict[str, float]:
    """A site's reconstruction, its effect on Whisper, and the number of phones that a feature detects."""
    values = scalars(scores)
    detected = scalars(interpretation)["phones_with_auroc_90"]
    return {name: values[name] for name in SAE_METRICS} | {"phones_with_auroc_90": detected}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested scalars under dotted names."""
    flat: dict[str, float] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: float(value)}
    return flat


def _by_layer(rows: pd.DataFrame, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}layer_{layer}": float(value) for layer, value in zip(rows["layer"], rows["value"], strict=True)}


def _nested(rows: pd.DataFrame, column: str) -> dict[str, dict[str, float]]:
    """`[entry of column][metric]`."""
    nested: dict[str, dict[str, float]] = {}
    for name, metric, value in zip(rows[column], rows["metric"], rows["value"], strict=True):
        nested.setdefault(str(name), {})[str(metric)] = float(value)
    return nested


def _require(table: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(f"a metrics table lacks the column {missing[0]!r}; there are {', '.join(map(str, table))}")
