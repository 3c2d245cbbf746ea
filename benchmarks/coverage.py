"""How often intervals hold the truth, and tests reject a true null, on made-up data in the study's own designs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from phonoscope.compute import derive_seed, limit_threads, parallel_map
from phonoscope.stats import Interval


class Outcome(NamedTuple):
    """An interval and what it should hold; None stands for the mean of the estimates over all simulations."""

    interval: Interval
    truth: float | None


class Design(NamedTuple):
    """A design of the study. `simulate` draws data and returns its outcome."""

    name: str
    measure: str
    simulate: Callable[[np.random.Generator], Outcome]
    nominal: float = 0.95


def run(simulations: int, seed: int, workers: int) -> pd.DataFrame:
    """The share of simulations whose interval holds the truth: design, measure, nominal, covered, simulations."""
    jobs = [(design, part) for design in designs() for part in range(workers)]

    def outcomes(job: tuple[Design, int]) -> list[Outcome]:
        design, part = job
        rng = np.random.default_rng(derive_seed(seed, design.name, design.measure, part))
        with limit_threads():
            return [design.simulate(rng) for _ in range(simulations // workers)]

    done = parallel_map(outcomes, jobs, workers=workers, description="coverage")
    rows = []
    for first in range(0, len(jobs), workers):
        design, made = jobs[first][0], [outcome for part in done[first : first + workers] for outcome in part]
        expected = float(np.mean([outcome.interval.value for outcome in made]))
        held = [one.interval.low <= (expected if one.truth is None else one.truth) <= one.interval.high for one in made]
        rows.append((design.name, design.measure, design.nominal, float(np.mean(held)), len(made)))
    return pd.DataFrame(rows, columns=["design", "measure", "nominal", "covered", "simulations"])


def designs() -> list[Design]:
    """Every design; the truth is the planted one, or of scores that depend on the design the mean over simulations."""
    fourteen, six = "14 speakers, 98 utterances", "6 speakers, 300 utterances"
    return [
        Design(fourteen, "macro-F1 of speakers at 0.25", _speakers(14, 7, 0.25)),
        Design(fourteen, "macro-F1 of speakers at 0.69", _speakers(14, 7, 0.7)),
        Design(six, "macro-F1 of speakers at 0.25", _speakers(6, 50, 0.25)),
        Design(fourteen, "macro-F1 of phones at 0.20", _phones(0.2)),
        Design(fourteen, "macro-F1 of phones at 0.44", _phones(0.5)),
        Design(fourteen, "ratio of two codecs' macro-F1 of phones", _ratio),
        Design(fourteen, "R² of pitch at 0.03", _pitch(0.03)),
        Design(fourteen, "R² of pitch at 0.60", _pitch(0.6)),
        Design(fourteen, "held-out bits, no information", _bits(0.0)),
        Design(fourteen, "held-out bits, some information", _bits(0.5)),
        Design(fourteen, "AUROC of a detector at 0.92", _auroc),
        Design("7 against 7 speakers", "Hedges' g at 0", _effect(0.0)),
        Design("7 against 7 speakers", "Hedges' g at 1", _effect(1.0)),
        Design("7 against 7 speakers", "Hedges' g at 3", _effect(3.0)),
        Design("10 utterances, 40 words", "causal effect in nats a word", _causal(10)),
        Design("5 utterances, 20 words", "causal effect in nats a word", _causal(5)),
        Design("3 trainings, 70 words", "accuracy of an encoder", _encoder),
        Design("14 speakers, 12 words", "silhouette", _geometry(14, "silhouette")),
        Design("6 speakers, 12 words", "silhouette", _geometry(6, "silhouette")),
        Design("14 speakers, 12 words", "no rejection of words that speakers do not share", _geometry(14, "test")),
        Design("6 speakers, 12 words", "no rejection of words that speakers do not share", _geometry(6, "test")),
    ]


def _tables(
    rng: np.random.Generator, classes: int, choices: NDArray[np.float64], truth: NDArray[np.int64], frames: Any
) -> Any:
    """Class statistics of utterances [n] of which each has one class and its own shares of predicted classes."""
    from phonoscope.probes.scores import ClassStatistics

    units = len(truth)
    predicted = np.array([rng.multinomial(n, shares) for n, shares in zip(frames, choices, strict=True)])
    true = np.zeros((units, classes), dtype=np.int64)
    true[np.arange(units), truth] = frames
    correct = np.zeros_like(true)
    correct[np.arange(units), truth] = predicted[np.arange(units), truth]
    return ClassStatistics(true, predicted, correct)


def _macro_f1(true: Any, predicted: Any, correct: Any) -> float:
    return float(np.mean(2 * correct / (true + predicted)))


def _speakers(speakers: int, utterances: int, accuracy: float) -> Callable[[np.random.Generator], Outcome]:
    """Utterances of a speaker differ in whom their frames are taken for."""
    fixed = np.random.default_rng(1)
    shares = fixed.gamma(0.6, size=(speakers, speakers))
    np.fill_diagonal(shares, 0)
    own = np.clip(fixed.normal(accuracy, accuracy / 3, speakers), 0.02, 0.98)
    shares = shares / shares.sum(axis=1, keepdims=True) * (1 - own)[:, None] + np.diag(own)
    truth = _macro_f1(np.ones(speakers), shares.sum(axis=0), shares.diagonal())
    speaker = np.repeat(np.arange(speakers), utterances)

    def simulate(rng: np.random.Generator) -> Outcome:
        frames = rng.integers(60, 200, len(speaker))
        choices = np.array([rng.dirichlet(6 * shares[one] + 1e-9) for one in speaker])
        interval = _tables(rng, speakers, choices, speaker, frames).intervals(0.95)["macro_f1"]
        return Outcome(interval, truth)

    return simulate


def _phone_shares(accuracy: float) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Frequencies of 39 phones, shares of predicted phones, and the macro-F1 of endless speech."""
    fixed, phones = np.random.default_rng(2), 39
    frequency = 1 / (np.arange(phones) + 2.0)
    frequency /= frequency.sum()
    shares = fixed.gamma(0.3, size=(phones, phones)) * frequency
    shares /= shares.sum(axis=1, keepdims=True)
    own = np.clip(fixed.normal(accuracy, accuracy / 2, phones), 0.01, 0.95)
    shares = shares * (1 - own)[:, None] + np.diag(own)
    joint = frequency[:, None] * shares
    return frequency, shares, _macro_f1(joint.sum(axis=1), joint.sum(axis=0), joint.diagonal())


def _spoken_phones(
    rng: np.random.Generator, frequency: NDArray[np.float64], shares: list[NDArray[np.float64]]
) -> list[Any]:
    """Class statistics of 98 utterances by several codecs: frames of a segment are taken for much the same phones."""
    from phonoscope.probes.scores import ClassStatistics

    utterances, phones = 98, len(frequency)
    counts = np.zeros((len(shares), 3, utterances, phones), dtype=np.int64)
    for utterance in range(utterances):
        segments = rng.choice(phones, size=rng.integers(4, 30), p=frequency)
        for phone in segments:
            frames = rng.integers(2, 9)
            for codec, by_phone in enumerate(shares):
                heard = rng.multinomial(frames, rng.dirichlet(4 * by_phone[phone] + 1e-6))
                counts[codec, 0, utterance, phone] += frames
                counts[codec, 1, utterance] += heard
                counts[codec, 2, utterance, phone] += heard[phone]
    return [ClassStatistics(*parts) for parts in counts]


def _phones(accuracy: float) -> Callable[[np.random.Generator], Outcome]:
    frequency, shares, truth = _phone_shares(accuracy)

    def simulate(rng: np.random.Generator) -> Outcome:
        (statistics,) = _spoken_phones(rng, frequency, [shares])
        return Outcome(statistics.intervals(0.95)["macro_f1"], truth)

    return simulate


def _ratio(rng: np.random.Generator) -> Outcome:
    from phonoscope.probes.scores import paired_ratio

    frequency, shares, value = _phone_shares(0.2)
    _, others, other = _phone_shares(0.13)
    first, second = _spoken_phones(rng, frequency, [shares, others])
    return Outcome(paired_ratio(first, second, "macro_f1", 0.95), value / other)


def _pitch(r2: float) -> Callable[[np.random.Generator], Outcome]:
    """Speakers, utterances and frames differ in pitch; half of the error is an utterance's own."""
    fixed, (of_utterance, of_frame) = np.random.default_rng(3), (12.0, 20.0)
    means = fixed.normal(0, 40, 14)
    error = (1 - r2) * (means.var() + of_utterance**2 + of_frame**2)
    speaker = np.repeat(np.arange(14), 7)

    def simulate(rng: np.random.Generator) -> Outcome:
        from phonoscope.probes.scores import ValueStatistics

        frames = rng.integers(20, 150, len(speaker))
        row = np.repeat(np.arange(len(speaker)), frames)
        level = means[speaker] + rng.normal(0, of_utterance, len(speaker))
        bias = rng.standard_t(6, len(speaker)) * np.sqrt(error / 2 * 4 / 6)
        true = level[row] + rng.normal(0, of_frame, len(row))
        wrong = bias[row] + rng.normal(0, np.sqrt(error / 2), len(row))
        statistics = ValueStatistics.from_frames(row, true, true - wrong, len(speaker), float(true.mean()))
        return Outcome(statistics.intervals(0.95)["r2"], r2)

    return simulate


def _bits(share: float) -> Callable[[np.random.Generator], Outcome]:
    """Codes that last as long as a phone; in a share of the segments the code is one of the phone's own."""

    def simulate(rng: np.random.Generator) -> Outcome:
        from phonoscope.probes.information import held_out_bits
        from phonoscope.stats import ratio_interval

        lengths, utterances = rng.integers(2, 9, 1_500), np.repeat(np.arange(100), 15)
        phones = rng.integers(20, size=1_500)
        codes = np.where(
            rng.random(1_500) < share, 6 * phones + rng.integers(6, size=1_500), rng.integers(120, size=1_500)
        )
        frames = codes.repeat(lengths), phones.repeat(lengths), utterances.repeat(lengths)
        saved = held_out_bits(*frames, (120, 20), folds=5, seed=int(rng.integers(2**31)))
        return Outcome(ratio_interval(saved.bits, saved.frames, confidence=0.95), None)

    return simulate


def _auroc(rng: np.random.Generator) -> Outcome:
    """Segments of an utterance share a shift of the feature's activation."""
    from sklearn.metrics import roc_auc_score

    from phonoscope.sae.interpret.detectors import auroc_interval

    units = np.repeat(np.arange(98), 12)
    positive = rng.random(len(units)) < 0.06
    activation = rng.normal(0, 0.6, 98)[units] + rng.normal(2.4 * positive, 1)
    area = float(roc_auc_score(positive, activation))
    return Outcome(auroc_interval(activation, positive, units, area, 0.95), float(norm.cdf(2.4 / np.sqrt(2 * 1.36))))


def _effect(d: float) -> Callable[[np.random.Generator], Outcome]:
    def simulate(rng: np.random.Generator) -> Outcome:
        from phonoscope.stats import hedges_g

        g, low, high = hedges_g(rng.normal(d, 1, 7), rng.normal(0, 1, 7), 0.95)
        return Outcome(Interval(float(g), float(low), float(high)), d)

    return simulate


def _causal(utterances: int) -> Callable[[np.random.Generator], Outcome]:
    """Words of an utterance share a part of the effect."""

    def simulate(rng: np.random.Generator) -> Outcome:
        from phonoscope.stats import ratio_interval

        words = rng.integers(2, 7, utterances)
        effect = -0.4 + rng.normal(0, 0.3, utterances) + rng.standard_t(5, utterances) * 0.4 / np.sqrt(words)
        return Outcome(ratio_interval(effect * words, words.astype(float), confidence=0.95), -0.4)

    return simulate


def _encoder(rng: np.random.Generator) -> Outcome:
    from phonoscope.stats import crossed_interval

    truth = norm.cdf(0.4 / np.sqrt(1 + 0.2**2 + 0.8**2))
    chances = norm.cdf(0.4 + rng.normal(0, 0.2, (3, 1)) + rng.normal(0, 0.8, (1, 70)))
    right = rng.binomial(1, chances).astype(float)
    return Outcome(crossed_interval(right, np.ones(70), confidence=0.95), float(truth))


def _geometry(speakers: int, what: str) -> Callable[[np.random.Generator], Outcome]:
    """Clips of speakers and words in 16 dimensions; for the test every speaker has words of their own."""
    words, takes, dims = 12, 4, 16
    shared = np.random.default_rng(9).normal(0, 0.6, (words, dims))

    def simulate(rng: np.random.Generator) -> Outcome:
        from phonoscope.config.geometry import GeometryConfig
        from phonoscope.geometry.scores import cluster_scores

        of_speaker = rng.normal(0, 0.5, (speakers, 1, 1, dims)) + rng.normal(0, 0.8, (speakers, words, 1, dims))
        meaning = shared[None, :, None] if what == "silhouette" else 0.0
        vectors = (meaning + of_speaker + rng.normal(0, 1, (speakers, words, takes, dims))).reshape(-1, dims)
        names = np.tile(np.repeat(np.arange(words), takes), speakers).astype(str)
        people = np.repeat(np.arange(speakers), words * takes).astype(str)
        settings = GeometryConfig(permutations=99, seed=int(rng.integers(2**31)))
        within = people if what == "test" else None
        scores = cluster_scores(vectors, names, speakers=people, within=within, config=settings).rows
        row: Any = scores.set_index("metric").loc["separation" if what == "test" else "silhouette"]
        if what == "silhouette":
            return Outcome(Interval(row["value"], row["ci_low"], row["ci_high"]), None)
        p = float(row["p_value"])
        return Outcome(Interval(p, np.nextafter(0.05, 1), 1.0), p)  # held where it does not reject

    return simulate
