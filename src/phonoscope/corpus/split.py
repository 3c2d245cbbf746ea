"""Train and eval utterances, stratified by speaker, and speaker-disjoint folds."""

import logging
import re
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from phonoscope.config.corpus import SplitConfig
from phonoscope.data.manifest import Manifest
from phonoscope.data.split import Split
from phonoscope.errors import DataError

log = logging.getLogger(__name__)


class _Utterance(NamedTuple):
    utterance: str
    speaker: str
    stratum: tuple[str, str]  # speaker, and sentence or word
    unit: str


class _Draft:
    """A split in the making: every unit of utterances moves from train to eval as a whole."""

    def __init__(self, utterances: list[_Utterance], fraction: float, seed: int) -> None:
        self.eval: set[str] = set()
        self.units: dict[str, list[_Utterance]] = defaultdict(list)
        for utterance in sorted(utterances):
            self.units[utterance.unit].append(utterance)
        order = np.random.default_rng(seed).permutation(sorted(self.units))
        # large units first: small ones can fill the rest of every quota
        self.order = sorted((str(unit) for unit in order), key=lambda unit: -len(self.units[unit]))
        self.sizes = Counter(utterance.speaker for utterance in utterances)
        self.in_train = self.sizes.copy()
        self.quota = _quotas(utterances, fraction)

    def gain(self, unit: str) -> int:
        """Utterances by which all strata come nearer to their quotas if this unit moves to eval."""
        members = Counter(utterance.stratum for utterance in self.units[unit])
        return sum(abs(self.quota[stratum]) - abs(self.quota[stratum] - count) for stratum, count in members.items())

    def can_move(self, unit: str) -> bool:
        """Whether every speaker keeps an utterance in train if this unit moves to eval."""
        members = Counter(utterance.speaker for utterance in self.units[unit])
        return all(self.in_train[speaker] > count for speaker, count in members.items())

    def move(self, unit: str) -> None:
        for utterance in self.units[unit]:
            self.eval.add(utterance.utterance)
            self.in_train[utterance.speaker] -= 1
            self.quota[utterance.stratum] -= 1

    def draw(self) -> set[str]:
        """Fill the quotas, then move the best unit of every speaker that eval still lacks, if one can move."""
        for unit in self.order:
            if self.gain(unit) > 0 and self.can_move(unit):
                self.move(unit)
        train_only = []
        for speaker, size in sorted(self.sizes.items()):
            if size < 2 or self.in_train[speaker] < size:
                continue
            units = [unit for unit in self.order if any(each.speaker == speaker for each in self.units[unit])]
            if movable := [unit for unit in units if self.can_move(unit)]:
                self.move(max(movable, key=self.gain))
            else:
                train_only.append(speaker)
        if train_only:
            log.warning("speakers in train only, because their texts would be on both sides: %s", ", ".join(train_only))
        return self.eval


def _quotas(utterances: list[_Utterance], fraction: float) -> Counter[tuple[str, str]]:
    """Eval utterances of each speaker and kind: the rounded share; one in all if that is 0 and there are several."""
    strata = Counter(utterance.stratum for utterance in utterances)
    quotas = Counter({stratum: round(fraction * size) for stratum, size in strata.items()})
    for speaker, size in Counter(utterance.speaker for utterance in utterances).items():
        of_speaker = sorted(stratum for stratum in strata if stratum[0] == speaker)
        if size > 1 and not any(quotas[stratum] for stratum in of_speaker):
            quotas[max(of_speaker, key=lambda stratum: strata[stratum])] = 1
    return quotas


def normalise_text(text: str) -> str:
    """The form in which two texts are compared: lower case, words separated by one space, no punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _utterances(manifest: Manifest) -> list[_Utterance]:
    """Utterances with their units: sentences of the same text make one unit, every other utterance is a unit."""
    columns = (manifest[name] for name in ("utterance", "speaker", "text", "word"))
    return [
        _Utterance(utterance, speaker, (speaker, "sentence"), f"text {sentence}")
        if not word and (sentence := normalise_text(text))
        else _Utterance(utterance, speaker, (speaker, "word"), f"utterance {utterance}")
        for utterance, speaker, text, word in zip(*columns, strict=True)
    ]


def speaker_folds(manifest: Manifest, folds: int, seed: int) -> list[list[str]]:
    """Disjoint lists of speakers, sizes equal within one, each sex spread evenly. At most as many as speakers."""
    sexes = manifest.table.groupby("speaker")["sex"].first()
    order = np.random.default_rng(seed).permutation(sorted(sexes.index))
    dealt = sorted((str(speaker) for speaker in order), key=lambda speaker: sexes[speaker])
    count = min(folds, len(dealt))
    return [sorted(dealt[fold::count]) for fold in range(count)]


def make_split(manifest: Manifest, config: SplitConfig) -> Split:
    """Divide a manifest into train and eval.

    The corpus's official split is kept if `config.official` and there is one. Otherwise every speaker gives about
    `eval_fraction` of its sentences and of its isolated words to eval; sentences of the same text stay on one side; a
    speaker of several utterances is on both sides unless its texts forbid it (logged).
    Raises: `DataError` if a side would be empty.
    """
    official = {name for name, side in manifest.by_utterance("split").items() if side == "eval"}
    if config.official and any(manifest["split"]):
        held_out, advice = official, "do not use the corpus's official split"
    else:
        held_out = _Draft(_utterances(manifest), config.eval_fraction, config.seed).draw()
        advice = "use a corpus with several utterances per speaker"
    train = sorted(set(manifest.utterances) - held_out)
    if not train or not held_out:
        raise DataError(f"the split has {len(train)} train and {len(held_out)} eval utterances; {advice}")
    return Split(train, sorted(held_out), speaker_folds(manifest, config.folds, config.seed))
