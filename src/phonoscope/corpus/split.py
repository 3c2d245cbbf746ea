"""Train and eval utterances, stratified by speaker and word; speaker-disjoint folds; leaks between train and eval."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
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
    word: str
    unit: str

    @property
    def stratum(self) -> tuple[str, str]:
        """The speaker, and whether it says a sentence or a word."""
        return self.speaker, "word" if self.word else "sentence"


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
        words = Counter(utterance.word for utterance in utterances if utterance.word)
        self.words_in_train = words.copy()
        self.quota = _quotas(utterances, fraction)
        self.word_quota = Counter({word: round(fraction * size) for word, size in words.items()})

    def gain(self, unit: str) -> int:
        """Utterances by which all strata come nearer to their quotas if this unit moves to eval."""
        members = Counter(utterance.stratum for utterance in self.units[unit])
        return sum(abs(self.quota[stratum]) - abs(self.quota[stratum] - count) for stratum, count in members.items())

    def can_move(self, unit: str) -> bool:
        """Whether train keeps an utterance of every speaker, and of every word, if this unit moves to eval."""
        speakers = Counter(utterance.speaker for utterance in self.units[unit])
        words = Counter(utterance.word for utterance in self.units[unit] if utterance.word)
        return all(self.in_train[speaker] > count for speaker, count in speakers.items()) and all(
            self.words_in_train[word] > count for word, count in words.items()
        )

    def is_wanted(self, unit: str, due: bool) -> bool:
        """Whether moving this unit brings its speakers' strata nearer to their quotas.

        With `due`, only sentences and words with fewer utterances in eval than their quota are wanted. Such a word may
        also leave the strata as near as before, because all its takes can be twice what a speaker's quota asks for.
        """
        words = {utterance.word for utterance in self.units[unit] if utterance.word}
        if due and not all(self.word_quota[word] > 0 for word in words):
            return False
        return self.gain(unit) >= (0 if due and words else 1)

    def move(self, unit: str) -> None:
        for utterance in self.units[unit]:
            self.eval.add(utterance.utterance)
            self.in_train[utterance.speaker] -= 1
            self.quota[utterance.stratum] -= 1
            self.words_in_train[utterance.word] -= 1
            self.word_quota[utterance.word] -= 1

    def draw(self) -> set[str]:
        """Fill the quotas, words that are due first, then move a unit of every speaker that eval still lacks."""
        for due in (True, False):
            for unit in self.order:
                if self.units[unit][0].utterance not in self.eval and self.can_move(unit) and self.is_wanted(unit, due):
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
            log.warning(
                "speakers in train only, because their texts or words would be on both sides: %s", ", ".join(train_only)
            )
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


def leak_units(manifest: Manifest) -> dict[str, str]:
    """The unit of every utterance; utterances of one unit are on one side of a drawn split.

    A unit has the sentences of one text, whoever reads them; the takes of one isolated word by one speaker; and
    recordings that are identical (sha256). Takes of a word that a single speaker says are units each: as one unit they
    would leave eval without the word, or train.
    """
    names, speakers, texts, words = (manifest[name] for name in ("utterance", "speaker", "text", "word"))
    said_by = defaultdict(set)
    for speaker, word in zip(speakers, words, strict=True):
        said_by[word].add(speaker)
    units = dict[str, str]()
    for name, speaker, text, word in zip(names, speakers, texts, words, strict=True):
        units[name] = f"utterance {name}"
        if word and len(said_by[word]) > 1:
            units[name] = f"word {word} of {speaker}"
        elif not word and (sentence := normalise_text(text)):
            units[name] = f"text {sentence}"
    return _joined(units, audio_hashes(manifest))


def audio_hashes(manifest: Manifest) -> dict[str, str]:
    """The sha256 of every utterance whose manifest has one."""
    there = "sha256" in manifest.table
    return {name: sha256 for name, sha256 in manifest.by_utterance("sha256").items() if sha256} if there else {}


def _joined(units: Mapping[str, str], hashes: Mapping[str, str]) -> dict[str, str]:
    """Units with those made one that share a recording: the connected components of units and recordings."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = sorted(set(units.values()))
    place = {name: index for index, name in enumerate(names)}
    first: dict[str, int] = {}
    pairs = [(first.setdefault(sha256, place[units[name]]), place[units[name]]) for name, sha256 in hashes.items()]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array((np.ones(len(pairs)), (np.array(rows, int), np.array(columns, int))), shape=(len(names),) * 2)
    labels = connected_components(graph, directed=False)[1]
    smallest = {int(label): name for label, name in reversed(list(zip(labels, names, strict=True)))}
    return {utterance: smallest[int(labels[place[unit]])] for utterance, unit in units.items()}


def leaks(manifest: Manifest, split: Split) -> Iterator[str]:
    """What train and eval share and should not: identical recordings and, in a drawn split, units."""
    for what, of in {
        "the same recording": audio_hashes(manifest),
        "near takes or the same text": {} if split.official else leak_units(manifest),
    }.items():
        in_train = {of[name]: name for name in split.train if name in of}
        both = [(name, in_train[of[name]]) for name in split.eval if of.get(name) in in_train]
        if both:
            yield f"{what} in eval and train: {both[0][0]} and {both[0][1]} ({len(both)} eval utterances)"


def split_metrics(manifest: Manifest, split: Split) -> dict[str, float]:
    """Utterances and minutes of both sides, and counts of the isolated words of eval.

    `eval_words_new_take` counts those of which train has no take by the same speaker, `eval_words_new_speaker` those
    whose speaker is not in train at all.
    """
    table = manifest.table.set_index("utterance")
    train, evaluation = table.loc[split.train], table.loc[split.eval]
    words = evaluation[evaluation["word"] != ""]
    heard = set(zip(train["speaker"], train["word"], strict=True))
    new = [pair not in heard for pair in zip(words["speaker"], words["word"], strict=True)]
    return {
        "train": len(train),
        "eval": len(evaluation),
        "train_min": float(train["duration_s"].sum() / 60),
        "eval_min": float(evaluation["duration_s"].sum() / 60),
        "eval_words": len(words),
        "eval_words_new_take": sum(new),
        "eval_words_new_speaker": int((~words["speaker"].isin(train["speaker"])).sum()),
    }


def speaker_folds(manifest: Manifest, folds: int, seed: int) -> list[list[str]]:
    """Disjoint lists of speakers, sizes equal within one, each sex spread evenly. At most as many as speakers."""
    sexes = manifest.table.groupby("speaker")["sex"].first()
    order = np.random.default_rng(seed).permutation(sorted(sexes.index))
    dealt = sorted((str(speaker) for speaker in order), key=lambda speaker: sexes[speaker])
    count = min(folds, len(dealt))
    return [sorted(dealt[fold::count]) for fold in range(count)]


def make_split(manifest: Manifest, config: SplitConfig) -> Split:
    """Divide a manifest into train and eval.

    The corpus's official split is kept if `config.official` and there is one; only copies of eval recordings that it
    has in train move to eval. Otherwise every speaker gives about `eval_fraction` of its sentences and of its isolated
    words to eval, and every word too; the utterances of a unit (`leak_units`) stay on one side; a speaker of several
    utterances is on both sides unless its texts or words forbid it (logged).
    Raises: `DataError` if a side would be empty.
    """
    official = config.official and any(manifest["split"])
    if official:
        held_out = _with_copies(
            {name for name, side in manifest.by_utterance("split").items() if side == "eval"}, manifest
        )
        advice = "do not use the corpus's official split"
    else:
        units = leak_units(manifest)
        columns = zip(manifest["utterance"], manifest["speaker"], manifest["word"], strict=True)
        utterances = [_Utterance(name, speaker, word, units[name]) for name, speaker, word in columns]
        held_out = _Draft(utterances, config.eval_fraction, config.seed).draw()
        advice = "use a corpus with several utterances per speaker"
    train = sorted(set(manifest.utterances) - held_out)
    if not train or not held_out:
        raise DataError(f"the split has {len(train)} train and {len(held_out)} eval utterances; {advice}")
    return Split(train, sorted(held_out), speaker_folds(manifest, config.folds, config.seed), official)


def _with_copies(held_out: set[str], manifest: Manifest) -> set[str]:
    """Utterances with all that have the same recording; logged."""
    hashes = audio_hashes(manifest)
    wanted = {hashes[name] for name in held_out if name in hashes}
    copies = {name for name, sha256 in hashes.items() if sha256 in wanted} - held_out
    if copies:
        log.warning("%d train utterances of the official split are copies of eval recordings: moved", len(copies))
    return held_out | copies
