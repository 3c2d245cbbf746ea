"""The study of codebook collapse: headline numbers of every variant, claims and hypotheses judged, figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from phonoscope.drawing import GREY, HUES, style
from phonoscope.report.figures import panel_row, share_legend
from phonoscope.report.markdown import markdown, page, with_interval
from phonoscope.report.verdict import Estimate, judge, verdict_frame, verdict_markdown

SETTLED = 0.5
"""Share of a run's epochs, its last ones, whose median stands for the run: a faulty codebook never comes to rest."""
UNSCALED = "_unscaled"  # end of the name of a variant under the faulty update
FAULTY, RIGHT, NO_AUGMENTATION = "vq_unscaled", "vq", "vq_no_augmentation_unscaled"
PLACES = {"train": ("eval", "train"), "eval": ("eval", "eval"), "fit": ("fit", "train"), "updated": ("train", "eval")}
"""End of a metric's name -> mode and split of its rows. `updated`: the codebook learns from eval clips, in train()."""
SETTLED_METRICS = (  # over the last half of the epochs
    *("accuracy", "accuracy_train", "majority", "drift_train", "drift_eval", "drift_fit"),
    *("perplexity_train", "perplexity_eval", "perplexity_fit", "perplexity_batch_fit", "perplexity_batch_eval"),
    *("perplexity_printed_eval", "perplexity_ema", "active_codes_train", "active_codes_eval", "active_codes_ema"),
    *("clips_on_top_2", "code_norm_max", "distance_eval", "restart_share"),
)
TRAINED_METRICS = (  # of the last epoch
    *("accuracy_trained", "active_codes_trained", "perplexity_printed_trained", "perplexity_ema_trained"),
    *("perplexity_batch_fit_trained", "accuracy_updated", "active_codes_updated"),
)
DASHED = (0, (4, 1.5))
PERPLEXITIES: Mapping[str, tuple[str, str, Any]] = {  # vectors it is measured on -> metric, colour, line style
    "EMA history": ("perplexity_ema", HUES[1], "-"),
    "batch, training": ("perplexity_batch_fit", HUES[0], "-"),
    "batch, eval": ("perplexity_batch_eval", HUES[0], DASHED),
    "dataset, train": ("perplexity_train", HUES[2], "-"),
    "dataset, eval": ("perplexity_eval", HUES[2], DASHED),
}
DOCUMENT_EPOCHS, DOCUMENT_LENGTH = (40, 90, 140), 150
"""Epochs at which the document of the collapse describes the training of vq_hdp, and its number of epochs."""
COLLAPSED, MANY = 5.5, 100.5  # active codes: at most 5 are a collapse, more than 100 a codebook in use
CLAIMS = (  # about variants with a quantizer: claim, metric, its bound, whether the metric is claimed above that
    ("right update: perplexity of eval at most 15 % from train's", "perplexity_gap", 0.15, False),
    ("right update: over 100 active codes in eval", "active_codes_eval", MANY, True),
    ("right update: accuracy at most 3 points below baseline", "above_baseline", -0.03, True),
    ("faulty update: at most 5 active codes in eval", "active_codes_eval", COLLAPSED, False),
    ("faulty update: accuracy at most 15 points above the majority class", "above_majority", 0.15, False),
    ("faulty update: perplexity of the EMA over 50", "perplexity_ema", 50.0, True),
    ("faulty update: perplexity of the EMA under 160", "perplexity_ema", 160.0, False),
)
QUESTIONS = (  # the document's hypotheses (H) and questions (Q) on the faulty update: variant, metric, claim, bound
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
)
SHOWN = {"accuracy": 3, "perplexity_train": 1, "perplexity_eval": 1, "perplexity_batch_eval": 1, "perplexity_ema": 0}
SHOWN |= {"active_codes_train": 0, "active_codes_eval": 0, "code_norm_max": 1, "distance_eval": 2}
SHOWN |= {"restart_share": 4, "drift_eval": 4}
"""Columns of the Markdown table of variants, and their decimals."""


def measured(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric's rows that stand for all batches: seed, epoch, batch, value; none if the variant lacks it."""
    name, _, end = metric.rpartition("_")
    column, place = (name, end) if end in PLACES else (metric, "eval")
    if metric == "restart_share":  # evaluation restarts no code
        place = "fit"
    column = "perplexity_dataset" if column == "perplexity" else column
    mode, split = PLACES[place]
    rows = table[(table["mode"] == mode) & (table["split"] == split) & (table["batch"] == 0) & (column in table)]
    return rows[["seed", "epoch", "batch"]].assign(value=rows[column] if column in table else np.nan)


def evaluations(table: pd.DataFrame) -> pd.DataFrame:
    """The settled metrics that the variant has, a row for each seed and epoch of the last half (the index)."""
    columns = {}
    for name in SETTLED_METRICS:
        if len(rows := measured(table, name)):
            rows = rows[rows["epoch"] > rows["epoch"].max() * (1 - SETTLED)]
            columns[name] = rows.set_index(["seed", "epoch"])["value"]
    return pd.DataFrame(columns)


def by_seed(table: pd.DataFrame, checks: pd.DataFrame) -> pd.DataFrame:
    """All metrics of a variant, a row a seed: settled, of the trained model, and `check_<name>`.

    A settled metric of a seed is its median over the last half of its epochs. `checks` has a row a seed, its index.
    """
    metrics: dict[Any, Any] = dict(evaluations(table).groupby("seed").median().items())
    for name in TRAINED_METRICS:
        rows = measured(table, name.removesuffix("_trained"))
        metrics[name] = rows[rows["epoch"] == rows["epoch"].max()].groupby("seed")["value"].first()
    leading = measured(table, "top_code").groupby("seed")
    metrics["leading_codes"] = leading["value"].nunique()
    metrics["leading_codes_share"] = metrics["leading_codes"] / leading["epoch"].nunique()
    return pd.DataFrame(metrics).join(checks.astype(float).add_prefix("check_"))


def headline(tables: Mapping[str, pd.DataFrame], checks: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every metric of every variant: variant, metric, value (median over seeds), low, high (their range), seeds."""
    parts = []
    for variant, table in tables.items():
        metrics = by_seed(table, checks.get(variant, pd.DataFrame()))
        spread = metrics.agg(["median", "min", "max", "count"]).T.set_axis(["value", "low", "high", "seeds"], axis=1)
        parts.append(spread.rename_axis("metric").reset_index().assign(variant=variant).astype({"seeds": int}))
    numbers = pd.concat(parts, ignore_index=True)[["variant", "metric", "value", "low", "high", "seeds"]]
    return numbers[numbers["seeds"] > 0].reset_index(drop=True)


def _spread(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """value (median over seeds), low and high."""
    return rows.groupby(by)["value"].agg(value="median", low="min", high="max").reset_index()


def perplexity_curves(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The perplexities by epoch: variant, perplexity, epoch, value (median over seeds), low, high."""
    parts = [
        _spread(measured(table, metric), "epoch").assign(variant=variant, perplexity=name)
        for variant, table in tables.items()
        for name, (metric, *_) in PERPLEXITIES.items()
    ]
    return pd.concat(parts)[["variant", "perplexity", "epoch", "value", "low", "high"]]


def training(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`vq_hdp` at the document's epochs, taken at the same share of the run; the last epoch's eval batches of `vq`.

    Columns: variant, document_epoch, epoch, batch (0 for all batches), metric, value (median over seeds), low, high.
    """
    parts = []
    for variant in (f"vq_hdp{UNSCALED}", "vq_hdp"):
        for metric in ("active_codes_ema", "perplexity_ema", "perplexity_batch_fit"):
            rows = measured(tables[variant], metric)
            for theirs in DOCUMENT_EPOCHS:
                epoch = max(1, round(theirs / DOCUMENT_LENGTH * rows["epoch"].max()))
                spread = _spread(rows[rows["epoch"] == epoch], "batch")
                parts.append(spread.assign(variant=variant, document_epoch=theirs, epoch=epoch, metric=metric))
    for variant in (FAULTY, RIGHT):
        rows = tables[variant].rename(columns={"perplexity_batch": "value"})
        rows = rows[(rows["mode"] == "eval") & (rows["split"] == "eval") & (rows["batch"] > 0)]
        spread = _spread(rows, "batch")
        parts.append(spread.assign(variant=variant, epoch=rows["epoch"].max(), metric="perplexity_batch_eval"))
    columns = ["variant", "document_epoch", "epoch", "batch", "metric", "value", "low", "high"]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def verdicts(tables: Mapping[str, pd.DataFrame], numbers: pd.DataFrame, main: Sequence[str]) -> pd.DataFrame:
    """Claims about both updates, and the document's hypotheses (H) and questions (Q), judged.

    Columns: claim, variant, value (median over seeds), low, high (range over seeds), bound, verdict, and
    `evaluations`: the share of the single evaluations, one an epoch in the last half of every run, that keep to the
    bound. `numbers` is from `headline`, `main` names the variants without the arms.
    """
    limits = numbers.set_index(["variant", "metric"])[["value", "low", "high"]]
    values: dict[Any, Estimate] = {place: Estimate(*row) for place, row in limits.T.items()}
    rows = [*_claims(tables, values["baseline", "accuracy"].value, main), *_questions(values)]
    return verdict_frame(rows, "variant").join(pd.DataFrame(rows, columns=["evaluations"]))


def _claims(tables: Mapping[str, pd.DataFrame], baseline: float, main: Sequence[str]) -> Iterator[dict[str, Any]]:
    """`CLAIMS` about every variant with a quantizer; `baseline` is the accuracy without one."""

    def compared(rows: pd.DataFrame) -> pd.DataFrame:
        gap = (rows["perplexity_eval"] / rows["perplexity_train"] - 1).abs()
        above_majority, above_baseline = rows["accuracy"] - rows["majority"], rows["accuracy"] - baseline
        return rows.assign(perplexity_gap=gap, above_majority=above_majority, above_baseline=above_baseline)

    settled = {name: evaluations(tables[name]) for name in main if name.startswith("vq")}
    for claim, metric, bound, above in CLAIMS:
        for variant, single in settled.items():
            if variant.endswith(UNSCALED) != claim.startswith("faulty"):
                continue
            # medians first: the median of ratios is not the ratio of medians
            seeds = single.groupby("seed").median()
            value, by_seed, every = (compared(rows)[metric] for rows in (seeds.median().to_frame().T, seeds, single))
            estimate = Estimate(value.item(), by_seed.min(), by_seed.max())
            row = judge(claim, estimate, bound, above=above, variant=variant)
            yield {**row, "evaluations": float((every > bound if above else every < bound).mean())}


def _questions(values: Mapping[tuple[str, str], Estimate]) -> Iterator[dict[str, Any]]:
    claim = "H1: updates during evaluation restore half of the right update's accuracy"
    yield judge(claim, values[FAULTY, "accuracy_updated"].over(values[RIGHT, "accuracy"]), 0.5, variant=FAULTY)
    for variant, metric, claim, bound in QUESTIONS:
        if (variant, metric) in values:
            yield judge(claim, values[variant, metric], bound, variant=variant)


def markdown_tables(numbers: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The verdicts, and the main numbers of all variants."""
    shares = [f" ({share:.0%})" if np.isfinite(share) else "" for share in judged["evaluations"]]
    shown = judged.assign(verdict=judged["verdict"] + shares).drop(columns="evaluations")
    main = numbers[numbers["metric"].isin(SHOWN)]
    limits = main[["value", "low", "high"]].assign(digits=main["metric"].map(SHOWN))
    cells = main.assign(text=[with_interval(*row) for row in limits.itertuples(index=False)])
    wide = cells.pivot(index="variant", columns="metric", values="text").reindex(numbers["variant"].unique())
    wide = wide[[name for name in SHOWN if name in wide]].rename_axis(columns=None).reset_index()
    note = (
        "Medians [lowest, highest] over seeds, of each seed over the last half of its epochs. Variants that end in "
        f"`{UNSCALED}` have the faulty update. In brackets behind a verdict: the share of single evaluations, one an "
        "epoch, that keep to the bound."
    )
    return page("# Codebook collapse", note, "## Verdicts", verdict_markdown(shown), "## Variants", markdown(wide))


@style()
def draw_perplexities(curves: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """`perplexity_curves` of the three perplexities, a panel a variant: medians over seeds and their range."""
    figure, panels = panel_row(len(titles), 4.2, 3.6, sharey=True)
    for axes, (variant, title) in zip(panels, titles.items(), strict=True):
        for name, part in curves[curves["variant"] == variant].groupby("perplexity", sort=False):
            _, hue, line = PERPLEXITIES[str(name)]
            axes.plot(part["epoch"], part["value"], color=hue, linestyle=line, label=name, linewidth=1.4)
            axes.fill_between(part["epoch"], part["low"], part["high"], color=hue, alpha=0.12, linewidth=0)
        axes.set(title=title, xlabel="epoch", yscale="log", ylim=(0.9, 600))
        ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
    panels[0].set_ylabel("perplexity (codes)")
    share_legend(figure, panels[:1], 5)
    return figure


@style()
def draw_norms(tables: Mapping[str, pd.DataFrame], titles: Mapping[str, str]) -> Figure:
    """Norms of the codes over epochs, a panel a variant, against those of the vectors and the EMA's total count."""
    lines: dict[str, dict[str, Any]] = {
        "code_norm_max": {"color": HUES[1], "linewidth": 1.4, "label": "largest norm"},
        "code_norm": {"color": HUES[4], "linewidth": 1.4, "label": "mean norm"},
        "code_norm_used": {"color": HUES[0], "linewidth": 1.4, "label": "mean norm of the codes in use"},
        "ema_total": {"color": GREY, "linestyle": ":", "label": "n, the EMA's total count"},
    }
    figure, panels = panel_row(len(titles), 4.2, 3.4, sharey=True)
    for axes, (variant, title) in zip(panels, titles.items(), strict=True):
        for metric, look in lines.items():
            axes.plot(measured(tables[variant], metric).groupby("epoch")["value"].median(), **look)
        axes.axhline(1.0, color=GREY, linewidth=0.8, label="norm of the vectors")
        axes.set(title=title, xlabel="epoch", yscale="log")
    panels[0].set_ylabel("Euclidean norm")
    share_legend(figure, panels[:1], 3)
    return figure


@style()
def draw_features(
    vectors: Mapping[str, Sequence[NDArray[Any]]], books: Mapping[str, NDArray[Any]], titles: Mapping[str, str]
) -> Figure:
    """Encoder outputs of train and eval together, and the codes among them: a panel a variant, PCA of its train.

    vectors: (train, eval) [N, D] of each variant. books: the codes [K, D] of those that have some.
    """
    figure, panels = panel_row(len(titles), 3.7, 3.9)
    for axes, (variant, title) in zip(panels, titles.items(), strict=True):
        projection = PCA(2, svd_solver="full").fit(vectors[variant][0])
        for clips, hue, marker, split in zip(vectors[variant], HUES, "o^", ("train", "eval"), strict=False):
            look: Any = {"s": 7, "marker": marker, "color": hue, "alpha": 0.45, "linewidth": 0}
            x, y = projection.transform(clips).T
            axes.scatter(x, y, label=split, **look)
        limits = axes.axis()
        if variant in books:
            codes = projection.transform(books[variant])
            low, high = np.array(limits).reshape(2, 2).T
            inside = ((codes >= low) & (codes <= high)).all(axis=1)
            x, y = codes.T
            axes.scatter(x, y, s=26, marker="+", color="black", linewidth=0.7, label="codes")
            title = f"{title}\n{inside.sum()} of {len(codes)} codes in view"
        first, second = (f"{share:.0%}" for share in projection.explained_variance_ratio_)
        axes.set(title=title, xlabel=f"component 1 ({first})", ylabel=f"component 2 ({second})")
        axes.axis(limits)  # the codes far outside would hide the vectors
    share_legend(figure, panels, 3)
    return figure
