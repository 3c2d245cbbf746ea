"""Baseline of the first study: a random forest that classifies the speaker's sex from mean activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope.sae.interpret.groups import Labels


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
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

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
    from sklearn.metrics import classification_report, recall_score

    report: Any = classification_report(sex, predicted, labels=["F", "M"], output_dict=True, zero_division=0.0)
    # over the sexes that occur: `balanced_accuracy_score` warns where one of them is only predicted
    recalls = recall_score(sex, predicted, labels=sorted(set(sex)), average=None, zero_division=0.0)
    accuracies = {"accuracy": float(np.mean(sex == predicted)), "balanced_accuracy": float(np.mean(recalls))}
    return [
        {"split_by": split_by, "sex": name}
        | {key.removesuffix("-score"): float(value) for key, value in report[name].items()}
        | accuracies
        for name in ("F", "M")
    ]
