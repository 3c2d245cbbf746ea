"""Train and eval utterances, stratified by speaker, and speaker-disjoint folds."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phonoscope.config.corpus import SplitConfig
from phonoscope.data.split import Split
from phonoscope.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class _Utterance(NamedTuple):
    utterance: str
    speaker: str
    kind: str
    unit: str

    @property
    def stratum(self) -> tuple[str, str]:
        return self.speaker, self.kind


class _Draft:
    """The split while it is made: units of utterances, which move from train to eval whole."""

    def __init__(self, utterances: list[_Utterance], fraction: float, seed: int) -> None:
        self.eval: set[str] = set()
        self.units: dict[str, list[_Utterance]] = defaultdict(list)
        for utterance in sorted(utterances):
            self.units[utterance.unit].append(utterance)
        order = np.random.default_rng(seed).permutation(sorted(self.units))
        # large units first: the small ones can fill what is left of every quota
        self.order = sorted((str(unit) for unit in order), key=lambda unit: -len(self.units[unit]))
        self.in_train = Counter(utterance.speaker for utterance in utterances)
        self.owed = _quotas(utterances, fraction)

    def gain(self, unit: str) -> int:
        """How much nearer all strata come to their quotas if this unit moves to eval."""
        members = Counter(utterance.stratum for utterance in self.units[unit])
        return sum(abs(self.owed[stratum]) - abs(self.owed[stratum] - count) for stratum, count in members.items())

    def can_move(self, unit: str) -> bool:
        """Whether every speaker keeps an utterance in train if this unit moves to eval."""
        members = Counter(utterance.speaker for utterance in self.units[unit])
        return all(self.in_train[speaker] > count for speaker, count in members.items())

    def move(self, unit: str) -> None:
        for utterance in self.units[unit]:
            self.eval.add(utterance.utterance)
            self.in_train[utterance.speaker] -= 1
            self.owed[utterance.stratum] -= 1

    def fill_quotas(self) -> None:
        for unit in self.order:
            if self.gain(unit) > 0 and self.can_move(unit):
                self.move(unit)

    def seat_absent_speakers(self, sizes: Counter[str]) -> list[str]:
        """Give eval an utterance of every speaker it lacks, at the least cost; return those for whom none can move."""
        stuck = []
        for speaker in sorted(name for name, size in sizes.items() if size > 1):
            if self.in_train[speaker] < sizes[speaker]:
                continue
            own = [unit for unit in self.order if any(u.speaker == speaker for u in self.units[unit])]
            movable = [unit for unit in own if self.can_move(unit)]
            if movable:
                self.move(max(movable, key=self.gain))
            else:
                stuck.append(speaker)
        return stuck


def _quotas(utterances: list[_Utterance], fraction: float) -> Counter[tuple[str, str]]:
    """What each speaker owes to eval, by kind: the rounded share; one in all if that is 0 and there are several."""
    strata = Counter(utterance.stratum for utterance in utterances)
    quotas = Counter({stratum: round(fraction * size) for stratum, size in strata.items()})
    for speaker, size in Counter(utterance.speaker for utterance in utterances).items():
        own = sorted(stratum for stratum in strata if stratum[0] == speaker)
        if size > 1 and not any(quotas[stratum] for stratum in own):
            quotas[max(own, key=lambda stratum: strata[stratum])] = 1
    return quotas


def normalise_text(text: str) -> str:
    """The form in which two texts are compared: lower case, words separated by one space, no punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _utterances(manifest: pd.DataFrame) -> list[_Utterance]:
    """Utterances with the unit they belong to: sentences of the same text make one unit, all others are their own."""
    columns = (manifest[name].tolist() for name in ("utterance", "speaker", "text", "word"))
    return [
        _Utterance(utterance, speaker, "sentence", f"text {sentence}")
        if not word and (sentence := normalise_text(text))
        else _Utterance(utterance, speaker, "word", f"utterance {utterance}")
        for utterance, speaker, text, word in zip(*columns, strict=True)
    ]


def _drawn_eval(manifest: pd.DataFrame, config: SplitConfig) -> set[str]:
    utterances = _utterances(manifest)
    draft = _Draft(utterances, config.eval_fraction, config.seed)
    draft.fill_quotas()
    stuck = draft.seat_absent_speakers(Counter(utterance.speaker for utterance in utterances))
    if stuck:
        log.warning("in train only, for their texts repeat on both sides otherwise: %s", ", ".join(stuck))
    return draft.eval


def speaker_folds(manifest: pd.DataFrame, folds: int, seed: int) -> list[list[str]]:
    """Disjoint lists of speakers, sizes equal within one, each sex spread evenly. At most as many as speakers."""
    sexes = manifest.groupby("speaker")["sex"].first()
    order = np.random.default_rng(seed).permutation(sorted(sexes.index))
    dealt = sorted((str(speaker) for speaker in order), key=lambda speaker: sexes[speaker])
    count = min(folds, len(dealt))
    return [sorted(dealt[fold::count]) for fold in range(count)]


def make_split(manifest: pd.DataFrame, config: SplitConfig) -> Split:
    """Divide a manifest (columns utterance, speaker, text, word, sex, split) into train and eval.

    A corpus's official split is kept if `config.official`. Otherwise every speaker gives about `eval_fraction` of its
    sentences and of its isolated words to eval; sentences of the same text stay on one side; every speaker has
    utterances in train, and in eval too unless it has only one utterance or its texts forbid it (that is logged).
    Raises: `DataError` if a side would be empty.
    """
    if config.official and (manifest["split"] != "").any():
        held_out = set(manifest.loc[manifest["split"] == "eval", "utterance"])
        mend = "set split.official to false"
    else:
        held_out = _drawn_eval(manifest, config)
        mend = "use a corpus with several utterances a speaker"
    train = sorted(set(manifest["utterance"]) - held_out)
    if not train or not held_out:
        raise DataError(f"the split has {len(train)} train and {len(held_out)} eval utterances; {mend}")
    return Split(train, sorted(held_out), speaker_folds(manifest, config.folds, config.seed))
