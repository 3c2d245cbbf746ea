"""Audio encoders: claims about the code encoder judged; figures of scores and training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from phonoscope.drawing import GREY, HUES, style
from phonoscope.encoders.study import accuracy
from phonoscope.report.figures import add_title, grid_across, panel_row
from phonoscope.report.markdown import markdown, page
from phonoscope.report.verdict import Estimate, judge, verdict_frame, verdict_markdown

TITLES = {"word": "Word from one window", "speaker": "Speaker from one window"}
PEAK = 0.9  # share of a peak's height that a pooling must keep


def verdicts(sizes: pd.DataFrame, behaviour: Mapping[str, float], differences: pd.DataFrame) -> pd.DataFrame:
    """Claims about the encoder on codes, judged: claim, encoder, value, low, high, bound, verdict.

    Sizes are exact. An arm's claim is that it scores above the encoder on codes, seed by seed. `sizes` and `behaviour`
    are from `encoders.measures`, `differences` from `encoders.study.compare`, a row an arm and metric.
    """
    of: Any = sizes.set_index("encoder").astype(float)
    tensors = behaviour["tensors"]
    exact: list[tuple[str, str, Any, float]] = []
    for column, claim in {"input_bytes": "input bytes", "parameters": "parameters", "macs": "multiply-adds"}.items():
        for name in ("mel", "mel_80"):
            ratio = of.loc[name, column] / of.loc["codes", column]
            exact.append((f"more {claim} than codes (ratio)", name, ratio, 1.0))
    reached = f"a gradient reaches all {tensors:.0f} parameter tensors"
    exact.append((reached, "codes", behaviour["gradient_tensors"], tensors - 0.5))
    for name in ("max", "mean"):
        claim = f"pooling by the {name} keeps a peak's height (share)"
        exact.append((claim, "codes", behaviour[f"peak_kept_{name}"], PEAK))
    rows = [judge(claim, Estimate(value, value, value), bound, encoder=name) for claim, name, value, bound in exact]
    for row in differences.to_dict("records"):
        difference = Estimate(row["difference"], row["low"], row["high"])
        rows.append(judge(f"{row['metric']} above that of codes", difference, 0.0, encoder=row["encoder"]))
    return verdict_frame(rows, "encoder")


def markdown_tables(sizes: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The verdicts, and the sizes of each input."""
    shown = markdown(sizes.set_index("encoder").map("{:,}".format).reset_index())
    return page("# Audio encoders", "## Verdicts", verdict_markdown(judged), "## Sizes of one window", shown)


@style()
def draw_scores(scores: pd.DataFrame, hits: pd.DataFrame, chance: Mapping[str, float]) -> Figure:
    """Accuracy of each encoder and arm: a dot a seed, the mean and its interval, and the chance level.

    scores: columns encoder, seed, metric, value. hits: from `encoders.study.hits_table`, of all of these. chance: the
    majority class's share by task.
    """
    names, seeds = list(dict.fromkeys(scores["encoder"])), scores["seed"].nunique()
    figure, panels = panel_row(2, 4.75, 0.9 + 0.34 * len(names), sharey=True)
    for axes, (task, title) in zip(panels, TITLES.items(), strict=True):
        rows = scores[scores["metric"] == f"accuracy_{task}"]
        for rank, name in enumerate(names):
            values = rows.loc[rows["encoder"] == name, "value"].to_numpy()
            mean, low, high = accuracy(hits, name, task)
            hue = HUES[1] if name == "mel" else HUES[0]
            axes.hlines(rank, max(low, 0.0), min(high, 1.0), color=hue, linewidth=1.4)
            axes.plot(values, [rank] * len(values), "o", color=hue, markersize=3.5, alpha=0.55)
            axes.plot(mean, rank, "D", color=hue, markersize=5.5)
        axes.axvline(chance[task], color=GREY, linewidth=0.9, linestyle=(0, (8, 4)))
        axes.set(xlim=(0, 1), xlabel="accuracy (share of eval windows)")
        axes.set_title(title, loc="left")
        grid_across(axes)
    panels[1].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    panels[1].invert_yaxis()
    title = (
        f"Audio encoders: mean and 95 % interval over {seeds} trainings (dots) and utterances; dashed: majority class"
    )
    add_title(figure, title, fontsize=9.5)
    return figure


@style()
def draw_curves(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Training loss of both tasks over steps, a line a seed."""
    figure, panels = panel_row(2, 4.75, 3.2)
    for axes, (task, title) in zip(panels, TITLES.items(), strict=True):
        for (name, curve), hue in zip(curves.items(), HUES, strict=False):
            for seed, rows in curve.groupby("seed"):
                axes.plot(rows["step"], rows[f"loss_{task}"], color=hue, label=name if seed == 0 else None)
        axes.set(xlabel="step", ylabel="cross-entropy (nats), training batch", ylim=(0, None))
        axes.set_title(title, loc="left")
        axes.legend(title="input")
    return figure
