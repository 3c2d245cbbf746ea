"""The study of codebook collapse: headline numbers of every variant, claims and hypotheses judged, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from phonoscope.drawing import GREY, HUES, new_figure, style
from phonoscope.report.markdown import markdown, with_interval
from phonoscope.report.verdict import Estimate, judge, verdict_frame, verdict_markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

SETTLED = 0.5
"""Share of a run's epochs, its last ones, whose median stands for the run: a faulty codebook never comes to rest."""
UNSCALED = "_unscaled"
"""End of the name of a variant under the faulty update."""
FAULTY, RIGHT, NO_AUGMENTATION = "vq_unscaled", "vq", "vq_no_augmentation_unscaled"
SETTLED_METRICS = {
    "accuracy": ("eval", "eval", "accuracy"),
    "accuracy_train": ("eval", "train", "accuracy"),
    "majority": ("eval", "eval", "majority"),
    "drift_train": ("eval", "train", "drift"),
    "drift_eval": ("eval", "eval", "drift"),
    "drift_fit": ("fit", "train", "drift"),
    "perplexity_train": ("eval", "train", "perplexity_dataset"),
    "perplexity_eval": ("eval", "eval", "perplexity_dataset"),
    "perplexity_fit": ("fit", "train", "perplexity_dataset"),
    "perplexity_batch_fit": ("fit", "train", "perplexity_batch"),
    "perplexity_batch_eval": ("eval", "eval", "perplexity_batch"),
    "perplexity_printed_eval": ("eval", "eval", "perplexity_printed"),
    "perplexity_ema": ("eval", "eval", "perplexity_ema"),
    "active_codes_train": ("eval", "train", "active_codes"),
    "active_codes_eval": ("eval", "eval", "active_codes"),
    "active_codes_ema": ("eval", "eval", "active_codes_ema"),
    "clips_on_top_2": ("eval", "eval", "clips_on_top_2"),
    "code_norm_max": ("eval", "eval", "code_norm_max"),
    "distance_eval": ("eval", "eval", "distance"),
    "restart_share": ("fit", "train", "restart_share"),
}
"""Metric over the last half of the epochs -> the mode, split and column that it is taken from."""
TRAINED_METRICS = {
    "accuracy_trained": ("eval", "eval", "accuracy"),
    "active_codes_trained": ("eval", "eval", "active_codes"),
    "perplexity_printed_trained": ("eval", "eval", "perplexity_printed"),
    "perplexity_ema_trained": ("eval", "eval", "perplexity_ema"),
    "perplexity_batch_fit_trained": ("fit", "train", "perplexity_batch"),
    "accuracy_updated": ("train", "eval", "accuracy"),
    "active_codes_updated": ("train", "eval", "active_codes"),
}
"""Metric of the trained model -> the same. `updated`: the codebook learns from the eval clips, in train() mode."""
PERPLEXITIES = {
    "EMA history": ("eval", "eval", "perplexity_ema"),
    "batch, training": ("fit", "train", "perplexity_batch"),
    "batch, eval": ("eval", "eval", "perplexity_batch"),
    "dataset, train": ("eval", "train", "perplexity_dataset"),
    "dataset, eval": ("eval", "eval", "perplexity_dataset"),
}
"""Set of vectors that a perplexity is measured on -> the mode, split and column that it is taken from."""
DOCUMENT_EPOCHS = (40, 90, 140)
DOCUMENT_LENGTH = 150
"""Epochs at which the document of the collapse describes the training of vq_hdp, and its number of epochs."""
COLLAPSED, MANY = 5.5, 100.5
"""Active codes: at most 5 are a collapse, more than 100 a codebook in use."""
SHOWN = {
    "accuracy": 3,
    "perplexity_train": 1,
    "perplexity_eval": 1,
    "perplexity_batch_eval": 1,
    "perplexity_ema": 0,
    "active_codes_train": 0,
    "active_codes_eval": 0,
    "code_norm_max": 1,
    "distance_eval": 2,
    "restart_share": 4,
    "drift_eval": 4,
}
"""Columns of the Markdown table of variants, and their decimals."""
DASHED = (0, (4, 1.5))
LINES = {
    "EMA history": (HUES[1], "-"),
    "batch, training": (HUES[0], "-"),
    "batch, eval": (HUES[0], DASHED),
    "dataset, train": (HUES[2], "-"),
    "dataset, eval": (HUES[2], DASHED),
}
"""Colour and line style of each perplexity."""


def whole_rows(table: pd.DataFrame, mode: str, split: str) -> pd.DataFrame:
    """The rows of a mode and split that stand for all batches."""
    return table[(table["mode"] == mode) & (table["split"] == split) & (table["batch"] == 0)]


def evaluations(table: pd.DataFrame) -> pd.DataFrame:
    """The settled metrics that the variant has, a row for each seed and epoch of the last half (the index)."""
    columns = {}
    for name, (mode, split, column) in SETTLED_METRICS.items():
        if column in table:
            rows = whole_rows(table, mode, split)
            rows = rows[rows["epoch"] > rows["epoch"].max() * (1 - SETTLED)]
            columns[name] = rows.set_index(["seed", "epoch"])[column]
    return pd.DataFrame(columns)


def by_seed(table: pd.DataFrame, checks: pd.DataFrame) -> pd.DataFrame:
    """All metrics of a variant, a row a seed: settled, of the trained model, and `check_<name>`.

    A settled metric of a seed is its median over the last half of its epochs. `checks` has a row a seed, its index.
    """
    metrics: dict[Any, Any] = dict(evaluations(table).groupby("seed").median().items())
    for name, (mode, split, column) in TRAINED_METRICS.items():
        if column in table:
            rows = whole_rows(table, mode, split)
            metrics[name] = rows[rows["epoch"] == rows["epoch"].max()].groupby("seed")[column].first()
    if "top_code" in table:
        seeds = whole_rows(table, "eval", "eval").groupby("seed")
        metrics["leading_codes"] = seeds["top_code"].nunique()
        metrics["leading_codes_share"] = metrics["leading_codes"] / seeds["epoch"].nunique()
    return pd.DataFrame(metrics).join(checks.astype(float).add_prefix("check_"))


def headline(tables: Mapping[str, pd.DataFrame], checks: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every metric of every variant: variant, metric, value (median over seeds), low, high (their range), seeds."""
    rows = []
    for variant, table in tables.items():
        for metric, values in by_seed(table, checks.get(variant, pd.DataFrame())).items():
            values = values.dropna()
            if len(values):
                limits = float(values.median()), float(values.min()), float(values.max())
                rows.append((variant, metric, *limits, len(values)))
    return pd.DataFrame(rows, columns=["variant", "metric", "value", "low", "high", "seeds"])


def perplexity_curves(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The perplexities by epoch: variant, perplexity, epoch, value (median over seeds), low, high."""
    parts = []
    for variant, table in tables.items():
        for name, (mode, split, column) in PERPLEXITIES.items():
            by_epoch = whole_rows(table, mode, split).groupby("epoch")[column]
            curve = by_epoch.agg(value="median", low="min", high="max").reset_index()
            parts.append(curve.assign(variant=variant, perplexity=name))
    return pd.concat(parts)[["variant", "perplexity", "epoch", "value", "low", "high"]]


def training(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`vq_hdp` at the document's epochs, taken at the same share of the run; the last epoch's eval batches of `vq`.

    Columns: variant, document_epoch, epoch, batch (0 for all batches), metric, value (median over seeds), low, high.
    """
    parts = []
    for variant in (f"vq_hdp{UNSCALED}", "vq_hdp"):
        for metric, (mode, split, column) in {
            "active_codes_ema": ("eval", "eval", "active_codes_ema"),
            "perplexity_ema": ("eval", "eval", "perplexity_ema"),
            "perplexity_batch_fit": ("fit", "train", "perplexity_batch"),
        }.items():
            rows = whole_rows(tables[variant], mode, split)
            for theirs in DOCUMENT_EPOCHS:
                epoch = max(1, round(theirs / DOCUMENT_LENGTH * rows["epoch"].max()))
                chosen = rows[rows["epoch"] == epoch].groupby("batch")[column]
                parts.append(_spread(chosen).assign(variant=variant, document_epoch=theirs, epoch=epoch, metric=metric))
    for variant in (FAULTY, RIGHT):
        rows = tables[variant]
        rows = rows[(rows["mode"] == "eval") & (rows["split"] == "eval") & (rows["batch"] > 0)]
        spread = _spread(rows.groupby("batch")["perplexity_batch"])
        parts.append(spread.assign(variant=variant, epoch=rows["epoch"].max(), metric="perplexity_batch_eval"))
    columns = ["variant", "document_epoch", "epoch", "batch", "metric", "value", "low", "high"]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def _spread(groups: Any) -> pd.DataFrame:
    return groups.agg(value="median", low="min", high="max").reset_index()


def verdicts(tables: Mapping[str, pd.DataFrame], numbers: pd.DataFrame, main: Sequence[str]) -> pd.DataFrame:
    """Claims about both updates, and the document's hypotheses (H) and questions (Q), judged.

    Columns: claim, variant, value (median over seeds), low, high (range over seeds), bound, verdict, and
    `evaluations`: the share of the single evaluations, one an epoch in the last half of every run, that keep to the
    bound. `numbers` is from `headline`, `main` names the variants without the arms.
    """
    values = {
        (str(variant), str(metric)): Estimate(*rest)
        for variant, metric, *rest in numbers[["variant", "metric", "value", "low", "high"]].itertuples(index=False)
    }
    rows = [*_claims(tables, values["baseline", "accuracy"].value, main), *_questions(values)]
    return verdict_frame(rows, "variant").join(pd.DataFrame(rows, columns=["evaluations"]))


def _claims(tables: Mapping[str, pd.DataFrame], baseline: float, main: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Claims about every variant with a quantizer; `baseline` is the accuracy without one."""
    claims: tuple[tuple[str, Callable[[pd.DataFrame], pd.Series[float]], float, bool], ...] = (
        ("right update: perplexity of eval at most 15 % from train's", _perplexity_gap, 0.15, False),
        ("right update: over 100 active codes in eval", lambda rows: rows["active_codes_eval"], MANY, True),
        (
            "right update: accuracy at most 3 points below baseline",
            lambda rows: rows["accuracy"] - baseline,
            -0.03,
            True,
        ),
        ("faulty update: at most 5 active codes in eval", lambda rows: rows["active_codes_eval"], COLLAPSED, False),
        ("faulty update: accuracy at most 15 points above the majority class", _above_majority, 0.15, False),
        ("faulty update: perplexity of the EMA over 50", lambda rows: rows["perplexity_ema"], 50.0, True),
        ("faulty update: perplexity of the EMA under 160", lambda rows: rows["perplexity_ema"], 160.0, False),
    )
    for claim, measure, bound, above in claims:
        for variant in main:
            if not variant.startswith("vq") or variant.endswith(UNSCALED) != claim.startswith("faulty"):
                continue
            single = evaluations(tables[variant])
            seeds, every = single.groupby("seed").median(), measure(single)
            limits = measure(seeds).min(), measure(seeds).max()
            estimate = Estimate(measure(seeds.median().to_frame().T).item(), *limits)
            row = judge(claim, estimate, bound, above=above, variant=variant)
            yield {**row, "evaluations": float((every > bound if above else every < bound).mean())}


def _above_majority(rows: pd.DataFrame) -> pd.Series[float]:
    return rows["accuracy"] - rows["majority"]


def _perplexity_gap(rows: pd.DataFrame) -> pd.Series[float]:
    return (rows["perplexity_eval"] / rows["perplexity_train"] - 1).abs()


def _questions(values: Mapping[tuple[str, str], Estimate]) -> Iterator[dict[str, Any]]:
    """The document's four hypotheses about the collapse and its four questions, about the faulty update."""
    updated = values[FAULTY, "accuracy_updated"].over(values[RIGHT, "accuracy"])
    yield judge(
        "H1: updates during evaluation restore half of the right update's accuracy", updated, 0.5, variant=FAULTY
    )
    for variant, metric, claim, bound in (
        (NO_AUGMENTATION, "active_codes_eval", "H2: over 5 active codes without augmentation", COLLAPSED),
        (FAULTY, "active_codes_train", "H3: over 5 active codes on training clips", COLLAPSED),
        (FAULTY, "check_state_changed_in_eval", "H4: eval() changes a tensor of the state", 0.5),
        (FAULTY, "perplexity_batch_fit", "H4: perplexity of training batches over 10", 10.0),
        (FAULTY, "perplexity_batch_fit_trained", "Q1: not yet collapsed in training: batch perplexity over 10", 10.0),
        (FAULTY, "leading_codes_share", "Q2: another code leads in over half of the evaluations", 0.5),
        (FAULTY, "clips_on_top_2", "Q2: over half of the clips lie on two codes alone", 0.5),
        (FAULTY, "drift_eval", "Q3: features drift from train to eval: energy coefficient over 0.05", 0.05),
        (FAULTY, "check_evaluated_with_graph", "Q4: evaluation records a gradient", 0.5),
        (FAULTY, "check_graph_matters", "Q4: a recorded gradient changes the logits by over 0.1 %", 1e-3),
    ):
        if (variant, metric) in values:
            yield judge(claim, values[variant, metric], bound, variant=variant)


def markdown_tables(numbers: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The verdicts, and the main numbers of all variants."""
    shares = [f" ({share:.0%})" if np.isfinite(share) else "" for share in judged["evaluations"]]
    shown = judged.assign(verdict=judged["verdict"] + shares).drop(columns="evaluations")
    main = numbers[numbers["metric"].isin(SHOWN)]
    texts = [
        with_interval(row["value"], row["low"], row["high"], SHOWN[row["metric"]]) for row in main.to_dict("records")
    ]
    cells = main.assign(text=texts)
    wide = cells.pivot(index="variant", columns="metric", values="text").reindex(numbers["variant"].unique())
    wide = wide[[name for name in SHOWN if name in wide]].rename_axis(columns=None).reset_index()
    note = (
        "Medians [lowest, highest] over seeds, of each seed over the last half of its epochs. Variants that end in "
        f"`{UNSCALED}` have the faulty update. In brackets behind a verdict: the share of single evaluations, one an "
        "epoch, that keep to the bound."
    )
    parts = ["# Codebook collapse", note, "## Verdicts", verdict_markdown(shown), "## Variants", markdown(wide)]
    return "\n\n".join(parts) + "\n"


def draw_perplexities(curves: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """The three perplexities over epochs, a panel a variant: medians over seeds and their range.

    curves: from `perplexity_curves`.
    """
    with style():
        figure = new_figure(4.2 * len(titles), 3.6)
        axes = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for axis, (variant, title) in zip(axes, titles.items(), strict=True):
            for name, part in curves[curves["variant"] == variant].groupby("perplexity", sort=False):
                hue, line = LINES[str(name)]
                axis.plot(part["epoch"], part["value"], color=hue, linestyle=line, label=name, linewidth=1.4)
                axis.fill_between(part["epoch"], part["low"], part["high"], color=hue, alpha=0.12, linewidth=0)
            axis.set(title=title, xlabel="epoch", yscale="log", ylim=(0.9, 600))
            axis.set_yticks([1, 2, 5, 10, 20, 50, 100, 200, 500], [1, 2, 5, 10, 20, 50, 100, 200, 500])
            axis.minorticks_off()
        axes[0].set_ylabel("perplexity (codes)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def draw_norms(tables: Mapping[str, pd.DataFrame], titles: Mapping[str, str]) -> Figure:
    """Norms of the codes over epochs, a panel a variant, against those of the vectors and the EMA's total count."""
    with style():
        figure = new_figure(4.2 * len(titles), 3.4)
        axes = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for axis, (variant, title) in zip(axes, titles.items(), strict=True):
            rows = whole_rows(tables[variant], "eval", "eval").groupby("epoch")
            for label, column, hue in (
                ("largest norm", "code_norm_max", HUES[1]),
                ("mean norm", "code_norm", HUES[4]),
                ("mean norm of the codes in use", "code_norm_used", HUES[0]),
            ):
                axis.plot(rows[column].median(), color=hue, label=label, linewidth=1.4)
            axis.plot(rows["ema_total"].median(), color=GREY, linestyle=":", label="n, the EMA's total count")
            axis.axhline(1.0, color=GREY, linewidth=0.8, label="norm of the vectors")
            axis.set(title=title, xlabel="epoch", yscale="log")
        axes[0].set_ylabel("Euclidean norm")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def draw_features(
    vectors: Mapping[str, tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]],
    books: Mapping[str, NDArray[np.floating[Any]]],
    titles: Mapping[str, str],
) -> Figure:
    """Encoder outputs of train and eval together, and the codes among them: a panel a variant, PCA of its train.

    vectors: (train, eval) [N, D] of each variant. books: the codes [K, D] of those that have some.
    """
    from sklearn.decomposition import PCA

    with style():
        figure = new_figure(3.7 * len(titles), 3.9)
        axes = figure.subplots(1, len(titles), squeeze=False)[0]
        for axis, (variant, title) in zip(axes, titles.items(), strict=True):
            train, held_out = vectors[variant]
            projection = PCA(2, svd_solver="full").fit(train)
            _scatter(axis, projection.transform(train), HUES[0], "o", "train")
            _scatter(axis, projection.transform(held_out), HUES[1], "^", "eval")
            limits = axis.axis()
            if variant in books:
                codes = projection.transform(books[variant])
                low, high = np.array(limits).reshape(2, 2).T
                inside = ((codes >= low) & (codes <= high)).all(axis=1)
                axis.scatter(codes[:, 0], codes[:, 1], s=26, marker="+", color="black", linewidth=0.7, label="codes")
                title = f"{title}\n{inside.sum()} of {len(codes)} codes in view"
            first, second = (f"{share:.0%}" for share in projection.explained_variance_ratio_)
            axis.set(title=title, xlabel=f"component 1 ({first})", ylabel=f"component 2 ({second})")
            axis.axis(limits)
        handles = {
            label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _scatter(axis: Axes, points: NDArray[np.floating[Any]], hue: str, marker: str, label: str) -> None:
    axis.scatter(points[:, 0], points[:, 1], s=7, marker=marker, color=hue, alpha=0.45, linewidth=0, label=label)
