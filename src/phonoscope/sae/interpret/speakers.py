"""Comparison of speakers by sex and by accent: effect sizes, a classifier, profiles, maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, ttest_ind
from sklearn.ensemble import RandomForestClassifier
from sklearn.manifold import TSNE
from sklearn.metrics import classification_report
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from statsmodels.stats.power import TTestIndPower

from phonoscope.compute import limit_threads
from phonoscope.sae.interpret.groups import Labels
from phonoscope.stats import hedges_g

EFFECTS = (0.2, 0.5, 0.8)  # small, medium, large: Cohen (1988)
SKIPPED = {"g": 0.0, "g_low": 0.0, "g_high": 0.0, "g_p": 1.0, "g_q": 1.0}  # row of a feature that could not be tested


def sexes_skipped(sex: Sequence[str]) -> str:
    """Reason why the sexes cannot be compared over these speakers; empty if they can."""
    female, male = sex.count("F"), sex.count("M")
    speakers = f"{female} female and {male} male speakers"
    if not (female and male):
        return f"the corpus has {speakers}: one sex cannot be compared"
    return "" if min(female, male) >= 2 else f"{speakers}: each sex needs two for a standard deviation"


def sex_effects(means: NDArray[np.float64], sex: Sequence[str], *, confidence: float) -> pd.DataFrame:
    """Hedges' g (F minus M) of every feature over speakers, with its noncentral t interval.

    p: Welch's t-test. q: Benjamini-Hochberg over the features that any speaker activates; the others get `SKIPPED`.
    means: mean activation of each speaker, [speakers, features]. sex: F, M or empty, one a speaker; at least two of
    each (`sexes_skipped`).
    """
    labels = np.array(sex)
    alive = np.flatnonzero(np.ptp(means[(labels == "F") | (labels == "M")], axis=0) > 0)
    table = pd.DataFrame(SKIPPED, index=np.arange(means.shape[1]))
    if not len(alive):
        return table
    female, male = (means[labels == name][:, alive].T for name in ("F", "M"))
    p = np.nan_to_num(ttest_ind(female, male, axis=-1, equal_var=False).pvalue, nan=1.0)
    q = false_discovery_control(p, method="bh")
    table.loc[alive, list(SKIPPED)] = np.stack([*hedges_g(female, male, confidence), p, q], axis=1)
    return table


def power_table(sex: Sequence[str], *, alpha: float, power: float) -> pd.DataFrame:
    """Speakers that a two-sided t-test needs to find an effect with this power.

    Columns: d, speakers_per_sex, speakers (both sexes), there (speakers of the rarer sex), enough.
    """
    solve, there = TTestIndPower().solve_power, min(sex.count("F"), sex.count("M"))
    needed = np.array([int(np.ceil(solve(effect_size=d, alpha=alpha, power=power, ratio=1.0))) for d in EFFECTS])
    columns = {"speakers_per_sex": needed, "speakers": 2 * needed, "there": there, "enough": there >= needed}
    return pd.DataFrame({"d": EFFECTS, **columns})


def detectable_effect(sex: Sequence[str], *, alpha: float, power: float) -> float:
    """Smallest d that these speakers can show with this power; 0 without two speakers of each sex."""
    female, male = sex.count("F"), sex.count("M")
    if min(female, male) < 2:
        return 0.0
    return float(TTestIndPower().solve_power(nobs1=female, alpha=alpha, power=power, ratio=male / female))


def sex_forest(
    means: NDArray[np.float64],
    sex: Labels,
    speakers: Labels,
    train: NDArray[np.bool_],
    *,
    trees: int,
    seed: int,
    workers: int = 1,
) -> pd.DataFrame:
    """Precision and recall by sex on utterances held out, and on speakers held out.

    means: mean activation of each utterance, [utterances, features]. sex: F or M. speakers: at least two of each sex.
    train: the side of the split by utterance; without both sexes on train, or anything on eval, it has no rows.
    Returns: split_by, sex, precision, recall, f1, support, accuracy, balanced_accuracy.
    """
    forest = RandomForestClassifier(trees, class_weight="balanced", random_state=seed, n_jobs=workers)
    rows = []
    # split by utterance, as in the first study, test speakers also occur in training: only the split by speaker shows
    # whether sex was learnt
    if len(set(sex[train])) == 2 and not train.all():
        rows += _report("utterance", sex[~train], forest.fit(means[train], sex[train]).predict(means[~train]))
    rarer = min(len(set(speakers[sex == name])) for name in ("F", "M"))
    folds = StratifiedGroupKFold(min(5, rarer), shuffle=True, random_state=seed)  # both sexes in every fold
    rows += _report("speaker", sex, cross_val_predict(forest, means, sex, groups=speakers, cv=folds))
    return pd.DataFrame(rows)


def _report(split_by: str, sex: Labels, predicted: Labels) -> list[dict[str, Any]]:
    report: Any = classification_report(sex, predicted, labels=["F", "M"], output_dict=True, zero_division=0.0)
    # over the sexes that occur: `balanced_accuracy_score` warns where one of them is only predicted
    recalls = [report[name]["recall"] for name in sorted(set(sex))]
    accuracies = {"accuracy": float(np.mean(sex == predicted)), "balanced_accuracy": float(np.mean(recalls))}
    return [
        {"split_by": split_by, "sex": name}
        | {key.removesuffix("-score"): float(value) for key, value in report[name].items()}
        | accuracies
        for name in ("F", "M")
    ]


def accents_skipped(accents: Sequence[str]) -> str:
    """Reason why accents cannot be compared; empty if they can."""
    names = sorted(set(accents) - {""})
    there = f"one accent ({names[0]})" if names else "no accents"
    return "" if len(names) >= 2 else f"the corpus has {there}: nothing to compare"


def accent_profiles(means: NDArray[np.float64], accents: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The accents, sorted, and the mean profile of each over its speakers, [accents, features that vary].

    means: mean activation of each speaker, [speakers, features]. accents: one a speaker, or empty.
    """
    labels = np.array(accents)
    accent, known = labels[labels != ""], means[labels != ""]
    deviation = known.std(axis=0)
    # standardised over the speakers, so that a feature of large activations does not decide alone
    scores = (known - known.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    names = tuple(sorted(set(accent.tolist())))
    return names, np.stack([scores[accent == name].mean(axis=0) for name in names])


def tsne(points: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """A t-SNE map [points, 2] by cosine distance, on one thread so that it is the same each time."""
    perplexity = min(30.0, (len(points) - 1) / 3)
    mapper = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed, n_jobs=1)
    with limit_threads():
        return np.asarray(mapper.fit_transform(points))
