from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

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


CONTROLS = trials.Controls(6, (), 0)


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


class Recorded(trials.Intervention):
    """Keeps the changes that are run, by their number."""

    changes: ClassVar[list[list[torch.Tensor]]] = []

    def run(self, change: Sequence[torch.Tensor], *, transcribe: bool = True) -> Outcome:
        self.changes.append(list(change))
        return super().run(change, transcribe=transcribe)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[list[torch.Tensor]]:
    """Changes of `feature_trial`: ablation and steering by the feature, then by each control."""
    Recorded.changes.clear()
    monkeypatch.setattr(trials, "Intervention", Recorded)
    return Recorded.changes


def test_steering_is_as_long_as_asked_along_the_feature(tiny: Whisper, recorded: list[list[torch.Tensor]]) -> None:
    dictionary = Axes(8)
    dictionary.W_dec[3] *= 5
    trials.feature_trial(setting(tiny, dictionary, "encoder_1"), [spoken(0)], 3, "S", 2.0, CONTROLS)
    (change,) = recorded[1]
    assert change.shape == (20, 8)
    torch.testing.assert_close(change, 2.0 * torch.eye(8)[3].expand(20, 8))


@pytest.mark.parametrize("normalize", ["final", "none"])
@pytest.mark.parametrize("site", ["encoder_2", "encoder_all"])
def test_controls_change_the_same_frames_by_the_same_length(
    tiny: Whisper, recorded: list[list[torch.Tensor]], site: str, normalize: Normalize
) -> None:
    dictionary = Axes(24 if site == "encoder_all" else 8)
    dictionary.W_dec += 0.1 * torch.randn(dictionary.W_dec.shape, generator=torch.Generator().manual_seed(0))
    settings = setting(tiny, dictionary, site, normalize)
    test = trials.Intervention(one_batch(tiny, [0]), settings)
    loudest = max(range(16), key=lambda feature: float(test.contribution([feature])[0].norm()))
    rows = trials.feature_trial(settings, [spoken(0)], loudest, "S", 1.5, CONTROLS)
    changes = {"ablate": recorded[::2], "steer": recorded[1::2]}
    for draws in changes.values():
        assert len(draws) == 1 + CONTROLS.draws
        assert max(float(part.norm()) for part in draws[0]) > 0.1
        for draw in draws[1:]:
            for part, mine in zip(draw, draws[0], strict=True):
                torch.testing.assert_close(part.norm(dim=1), mine.norm(dim=1), rtol=1e-3, atol=1e-5)
            cosine = torch.cosine_similarity(torch.cat(draw, dim=1), torch.cat(draws[0], dim=1), dim=1)
            assert float(cosine.abs().min()) < 0.99
    names = [row.control for row in rows if row.condition == "ablate"]
    assert names[:4] == ["", "random", "random", "random"]
    assert all(name.isdigit() for name in names[4:])


def test_other_features_are_the_ones_active_there_with_like_energy(tiny: Whisper) -> None:
    class Told(Axes):
        """Feature 0 is active on six of twelve frames, the others with a share of its activation, there or beside."""

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            there = torch.arange(len(x))[:, None] < 6
            shares = torch.tensor([1.0, 0.9, 1.1, 0.8, 50, 0.01, 0, 1.0])
            shares = torch.cat([shares, torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])])
            found = there * shares
            found[:, 7] = ~there[:, 0]
            return found.float()

    test = trials.Intervention(one_batch(tiny, [0]), setting(tiny, Told(8)))
    where = trials.word_mask(test.speech, [[(0, 12)]])
    seen = set()
    for seed in range(40):
        drawn = trials.draw_controls([test], [where], 0, trials.Controls(6, (2,), seed))
        assert len(drawn) == 6
        seen.add(tuple(sorted(control.name for control in drawn[3:])))
    # 2 is barred, 8 is feature 0 upside down, 6 and 7 are silent on its frames
    assert {name for names in seen for name in names} == {"1", "3", "4", "5"}
    few = trials.draw_controls([test], [where], 0, trials.Controls(6, (1, 2, 3, 4), 0))
    assert [control.name for control in few] == ["random"] * 5 + ["5"]


def test_of_many_features_only_those_with_the_most_like_energy_are_controls(
    tiny: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Graded(Axes):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1.0, 0.2, 1.2, 0.1, 4.0, 0.9, 0.01, 0.05] + 8 * [0.0]]).expand(len(x), -1)

    monkeypatch.setattr(trials, "CANDIDATES", 2)
    test = trials.Intervention(one_batch(tiny, [0]), setting(tiny, Graded(8)))
    drawn = trials.draw_controls([test], [test.speech.mask], 0, trials.Controls(6, (), 1))
    assert {control.name for control in drawn} == {"random", "2", "5"}


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
        assert torch.equal(trials.word_mask(speech, [[span]])[0].nonzero()[:, 0], torch.arange(*expected))
    both = trials.word_mask(speech, [[(0, 2), (5, 6)]])[0].nonzero()[:, 0]
    assert both.tolist() == [0, 1, 5]


def spoken(seed: int) -> trials.Spoken:
    words = (trials.Word(0, 8, frozenset({"S", "IH"}), 0), trials.Word(12, 20, frozenset({"S", "OW"}), 1))
    return trials.Spoken(f"u{seed}", "ann", "w1 w2", noise(6400, seed), words)


def by_condition(rows: list[trials.Row], name: str = "u0", draw: int = 0) -> dict[str, trials.Row]:
    return {row.condition: row for row in rows if row.utterance == name and row.draw == draw}


def test_words_are_counted_on_the_side_of_their_phones(tiny: Whisper) -> None:
    first, second, _ = run_patched(one_batch(tiny, [0]), {}).log_probs[0].tolist()
    for phone, target, other in (("S", [first, second], []), ("OW", [second], [first]), ("Z", [], [first, second])):
        row = by_condition(trials.feature_trial(setting(tiny), [spoken(0)], 0, phone, 1.0, CONTROLS))["clean"]
        assert (row.targets, row.others) == (len(target), len(other))
        assert row.target == pytest.approx(sum(target))
        assert row.other == pytest.approx(sum(other))


def test_a_silent_feature_and_its_controls_do_nothing(tiny: Whisper) -> None:
    class Deaf(Axes):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            activations = super().encode(x)
            activations[:, 1] = 0
            return activations

    heard = setting(tiny, Deaf(8))
    for feature, silent in ((1, True), (0, False)):
        rows = trials.feature_trial(heard, [spoken(0), spoken(1)], feature, "IH", 1.5, CONTROLS)
        clean = by_condition(rows)["clean"].target
        for draw in range(7):
            assert (abs(by_condition(rows, draw=draw)["ablate"].target - clean) < 1e-6) == silent
            assert abs(by_condition(rows, draw=draw)["steer"].target - clean) > 1e-6


def test_controls_are_scored_and_not_transcribed(tiny: Whisper) -> None:
    rows = trials.feature_trial(setting(tiny), [spoken(0)], 0, "S", 1.5, CONTROLS)
    assert all((row.words > 0) == (row.draw == 0) for row in rows)
    same_run = run_patched(one_batch(tiny, [0]), {}, transcribe=False)
    torch.testing.assert_close(same_run.log_probs, run_patched(one_batch(tiny, [0]), {}).log_probs)
    assert same_run.texts == []


def test_patching_reports_every_part_of_the_sites_block(tiny: Whisper) -> None:
    noisy = [trials.NoisyTrial(spoken(seed), seed, noise(6400, seed + 5)) for seed in (0, 1)]
    rows = trials.patching_trial(setting(tiny), noisy, [0, 1], CONTROLS)
    words = ["word.encoder_2", "elsewhere.encoder_2"]
    parts = [*words, "attention_2", "mlp_2", "features"]
    assert list(by_condition(rows)) == ["clean", "noisy", *parts]
    assert all(list(by_condition(rows, draw=draw)) == ["features"] for draw in range(1, 7))
    assert all(row.targets == row.others == 1 for row in rows)
    second = float(run_patched(one_batch(tiny, [1]), {}).log_probs[0][1])
    assert by_condition(rows, "u1")["clean"].target == pytest.approx(second, abs=1e-5)
    for condition, span in (("word.encoder_2", (12, 20)), ("elsewhere.encoder_2", (4, 12))):
        there, here = one_batch(tiny, [1]), one_batch(tiny, [6])
        alone = trials.patch_clean(there, here, Site.parse("encoder_2"), trials.word_mask(here, [[span]]))
        assert by_condition(rows, "u1")[condition].target == pytest.approx(float(alone.log_probs[0][1]), abs=1e-4)
    all_features = trials.patching_trial(setting(tiny), noisy[:1], range(16), CONTROLS)
    there, here = one_batch(tiny, [0]), one_batch(tiny, [5])
    frames = trials.patch_clean(there, here, Site.parse("encoder_2"), there.mask)
    assert by_condition(all_features)["features"].target == pytest.approx(float(frames.log_probs[0][0]), abs=1e-4)
