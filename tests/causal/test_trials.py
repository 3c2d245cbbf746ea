from __future__ import annotations

from typing import Any

import pytest
import torch

from phonoscope.causal import trials
from phonoscope.config.sites import Site
from phonoscope.config.whisper import Normalize
from phonoscope.whisper import Whisper
from phonoscope.whisper.patching import Outcome, Speech, run_patched, speech_batches

from ..whisper.checkout import noise


class Axes:
    """A lossless dictionary whose features are the axes of the space, up and down."""

    def __init__(self, width: int) -> None:
        self.W_dec = torch.cat([torch.eye(width), -torch.eye(width)])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.W_dec.T).clamp(min=0)


def setting(
    whisper: Whisper, dictionary: Any = None, site: str = "encoder_2", normalize: Normalize = "none"
) -> trials.Setting:
    return trials.Setting(whisper, Site.parse(site), dictionary or Axes(8), normalize, 1.0)


def one_batch(whisper: Whisper, seeds: list[int]) -> Speech:
    audio = [noise(6400, seed) for seed in seeds]
    (speech,) = speech_batches(whisper, audio, ["w1 w2"] * len(seeds), context_s=1.0)
    return speech


def same(one: Outcome, other: Outcome) -> bool:
    close = [torch.allclose(a, b, atol=1e-4) for a, b in zip(one.log_probs, other.log_probs, strict=True)]
    return all(close) and one.texts == other.texts


@pytest.mark.parametrize("site", ["encoder_0", "encoder_2", "encoder_3", "attention_1", "encoder_all"])
def test_the_encoder_started_again_in_the_middle_is_the_encoder(tiny: Whisper, site: str) -> None:
    speech = one_batch(tiny, [0, 1])
    whole = run_patched(speech, {}, 0)
    test = trials.Intervention(speech, setting(tiny, Axes(24 if site == "encoder_all" else 8), site))
    assert same(test.run([part * 0 for part in test.contribution([0])]), whole)
    assert same(run_patched(speech, {}), whole)


@pytest.mark.parametrize("normalize", ["final", "none"])
def test_all_features_together_are_the_activations(tiny: Whisper, normalize: Normalize) -> None:
    """Taking all of a lossless dictionary's contribution off leaves nothing but the mean and the norm's bias."""
    speech = one_batch(tiny, [0, 1])
    (change,) = trials.Intervention(speech, setting(tiny, normalize=normalize)).contribution(range(16))
    raw = speech.streams[2][speech.mask]
    if normalize == "none":
        torch.testing.assert_close(change, raw)
    else:
        norm = tiny.model.model.encoder.layer_norm
        deviation = (raw.var(dim=1, unbiased=False) + norm.eps).sqrt()
        rest = raw.mean(dim=1, keepdim=True) - norm.bias / norm.weight * deviation[:, None]
        torch.testing.assert_close(raw - change, rest.expand_as(raw), rtol=1e-3, atol=1e-3)


def test_steering_is_as_long_as_asked_along_the_feature(tiny: Whisper) -> None:
    speech = one_batch(tiny, [0])
    dictionary = Axes(8)
    dictionary.W_dec[3] *= 5
    (change,) = trials.Intervention(speech, setting(tiny, dictionary, "encoder_1")).steering(3, 2.0)
    assert change.shape == (20, 8)
    torch.testing.assert_close(change, 2.0 * torch.eye(8)[3].expand(20, 8))


def test_patching_every_position_gives_the_clean_run(tiny: Whisper) -> None:
    clean, noisy = one_batch(tiny, [0, 1]), one_batch(tiny, [2, 3])
    everywhere = torch.ones_like(clean.mask)
    assert not same(run_patched(noisy, {}), run_patched(clean, {}))
    for site in ("encoder_0", "encoder_2", "encoder_3"):
        assert same(trials.patch_clean(clean, noisy, Site.parse(site), everywhere), run_patched(clean, {}))
        assert same(trials.patch_clean(clean, noisy, Site.parse(site), ~everywhere), run_patched(noisy, {}))


def test_a_words_frames_are_cut_to_the_utterance(tiny: Whisper) -> None:
    speech = one_batch(tiny, [0])
    frames = {(0, 3): (0, 3), (-4, 2): (0, 2), (18, 99): (18, 20), (5, 5): (0, 0), (30, 40): (0, 0)}
    for span, expected in frames.items():
        assert torch.equal(trials.word_mask(speech, [span])[0].nonzero()[:, 0], torch.arange(*expected))


def spoken(seed: int) -> trials.Spoken:
    words = (trials.Word(0, 8, frozenset({"S", "IH"}), 0), trials.Word(12, 20, frozenset({"S", "OW"}), 1))
    return trials.Spoken(f"u{seed}", "w1 w2", noise(6400, seed), words)


def by_condition(rows: list[trials.Row], name: str = "u0") -> dict[str, trials.Row]:
    return {row.condition: row for row in rows if row.utterance == name}


def test_words_are_counted_on_the_side_of_their_phones(tiny: Whisper) -> None:
    first, second, _ = run_patched(one_batch(tiny, [0]), {}).log_probs[0].tolist()
    for phone, target, other in (("S", [first, second], []), ("OW", [second], [first]), ("Z", [], [first, second])):
        row = by_condition(trials.feature_trial(setting(tiny), [spoken(0)], phone, 0, 1, 1.0))["clean"]
        assert (row.targets, row.others) == (len(target), len(other))
        assert row.target == pytest.approx(sum(target))
        assert row.other == pytest.approx(sum(other))


def test_a_silent_feature_does_nothing_and_the_control_is_treated_alike(tiny: Whisper) -> None:
    class Deaf(Axes):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            activations = super().encode(x)
            activations[:, 1] = 0
            return activations

    quiet = setting(tiny, Deaf(8))
    rows = by_condition(trials.feature_trial(quiet, [spoken(0), spoken(1)], "IH", 0, 1, 1.5))
    swapped = by_condition(trials.feature_trial(quiet, [spoken(0), spoken(1)], "IH", 1, 0, 1.5))
    assert rows["ablate_control"].target == pytest.approx(rows["clean"].target, abs=1e-6)
    assert rows["ablate"].target != pytest.approx(rows["clean"].target, abs=1e-4)
    for name in ("ablate", "steer"):
        assert rows[name].target == pytest.approx(swapped[f"{name}_control"].target, abs=1e-6)


def test_patching_reports_every_part_of_the_sites_block(tiny: Whisper) -> None:
    noisy = [trials.NoisyTrial(spoken(seed), seed, noise(6400, seed + 5)) for seed in (0, 1)]
    rows = trials.patching_trial(setting(tiny), noisy, [0, 1], [2, 3])
    words = ["word.encoder_2", "elsewhere.encoder_2"]
    parts = [*words, "attention_2", "mlp_2", "features", "features_control"]
    assert list(by_condition(rows)) == ["clean", "noisy", *parts]
    assert all(row.targets == row.others == 1 for row in rows)
    second = float(run_patched(one_batch(tiny, [1]), {}).log_probs[0][1])
    assert by_condition(rows, "u1")["clean"].target == pytest.approx(second, abs=1e-5)
    for condition, span in (("word.encoder_2", (12, 20)), ("elsewhere.encoder_2", (4, 12))):
        there, here = one_batch(tiny, [1]), one_batch(tiny, [6])
        alone = trials.patch_clean(there, here, Site.parse("encoder_2"), trials.word_mask(here, [span]))
        assert by_condition(rows, "u1")[condition].target == pytest.approx(float(alone.log_probs[0][1]), abs=1e-4)
    all_features = trials.patching_trial(setting(tiny), noisy[:1], range(16), [0])
    there, here = one_batch(tiny, [0]), one_batch(tiny, [5])
    frames = trials.patch_clean(there, here, Site.parse("encoder_2"), there.mask)
    assert by_condition(all_features)["features"].target == pytest.approx(float(frames.log_probs[0][0]), abs=1e-4)
