from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from phonoscope.causal.tables import LEAST, feature_verdicts, judge, patched_features_verdict, patching_table
from phonoscope.config.causal import CausalConfig

SETTINGS = CausalConfig()
DRAWS = 6


def trial(
    effects: dict[str, float],
    utterances: int = 20,
    spread: float = 0.1,
    others: int = 3,
    draws: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Two target words and some others an utterance; a condition changes each target word by its effect.

    Effects of controls, `ablate_control` and `steer_control`, differ by `draws` from one to the next, around the mean.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(utterances):
        base = rng.normal(-5, 2)
        for condition in ("clean", "ablate", "steer"):
            for draw in range(1 if condition == "clean" else 1 + DRAWS):
                change = effects.get(f"{condition}_control" if draw else condition, 0.0)
                change += draws * (draw - (DRAWS + 1) / 2) if draw else 0.0
                change += rng.normal(0, spread) if condition != "clean" else 0.0
                scores = {
                    "target": base + 2 * change,
                    "targets": 2,
                    "other": others * (base + change),
                    "others": others,
                }
                errors = int(condition == "ablate")
                place = {"utterance": f"u{number}", "speaker": f"s{number % 4}", "condition": condition, "draw": draw}
                rows.append({**place, **scores, "errors": errors, "words": 5})
    return pd.DataFrame(rows)


def verdicts(rows: pd.DataFrame) -> dict[str, str]:
    both = feature_verdicts(rows, SETTINGS)
    judge(list(both.values()), SETTINGS.alpha)
    return {name: one["verdict"] for name, one in both.items()}


def test_a_planted_effect_is_found_and_beats_its_controls() -> None:
    rows = trial({"ablate": -1.0, "steer": -0.5})
    found = feature_verdicts(rows, SETTINGS)
    assert found["ablate"]["effect"] == pytest.approx(-1, abs=0.1)
    assert found["ablate"]["difference"] == pytest.approx(-1, abs=0.1)
    assert found["steer"]["effect"] == pytest.approx(-0.5, abs=0.1)
    assert verdicts(rows) == {"ablate": "causal", "steer": "causal"}
    assert [found["ablate"][name] for name in ("words", "utterances", "speakers")] == [40, 20, 4]
    assert found["steer"]["words"] == 60
    assert [found["ablate"][name] for name in ("wer", "wer_clean")] == [0.2, 0]


@pytest.mark.parametrize(
    "effects",
    [{}, {"ablate": -1.0, "ablate_control": -1.0}, {"ablate": 1.0}, {"ablate": 0.5, "ablate_control": 1.0}],
    ids=["nothing", "as the controls", "helps", "helps less than the controls"],
)
def test_what_does_not_beat_its_controls_is_undecided(effects: dict[str, float]) -> None:
    assert verdicts(trial(effects))["ablate"] == "undecided"


def test_an_effect_within_the_controls_draws_is_undecided() -> None:
    """Far from the mean control, with a narrow interval, but one control of six does as much."""
    rows = trial({"ablate": -0.4, "ablate_control": -0.2}, draws=0.1)
    found = feature_verdicts(rows, SETTINGS)["ablate"]
    assert found["difference_high"] < 0
    assert found["p"] < 1e-3
    assert found["control_lowest"] == pytest.approx(-0.45, abs=0.05)
    assert verdicts(rows)["ablate"] == "undecided"
    assert verdicts(trial({"ablate": -0.6, "ablate_control": -0.2}, draws=0.1))["ablate"] == "causal"


def test_intervals_and_p_agree_with_scipy() -> None:
    """With as many words in every utterance the ratio is a mean: Student's interval at the most."""
    rows = trial({"ablate": -0.3}, utterances=40, spread=0.5)
    wide = rows[rows["condition"] == "ablate"].pivot(index="utterance", columns="draw", values="target")
    paired = wide[0] - wide.drop(columns=0).mean(axis=1)
    found, test = feature_verdicts(rows, SETTINGS)["ablate"], ttest_1samp(paired / 2, 0.0)
    assert found["p"] == pytest.approx(test.pvalue / 2, rel=1e-6)
    student = test.confidence_interval(SETTINGS.confidence)
    assert (found["difference_low"], found["difference_high"]) == pytest.approx((student.low, student.high), abs=0.02)
    speakers = paired.groupby(rows.drop_duplicates("utterance").set_index("utterance")["speaker"]).mean() / 2
    by_speaker = ttest_1samp(speakers, 0.0).confidence_interval(SETTINGS.confidence)
    assert found["difference_speaker_low"] <= by_speaker.low + 0.02


def test_one_speaker_has_no_interval_over_speakers() -> None:
    found = feature_verdicts(trial({"ablate": -1.0}).assign(speaker="ann"), SETTINGS)["ablate"]
    assert (found["speakers"], found["difference_speaker_low"]) == (1, None)


def test_chance_alone_is_rarely_causal() -> None:
    """Of sites with six tests and no effect at all, few have a verdict."""
    sites, hits = 20, 0
    for site in range(sites):
        tests = [trial({}, utterances=12, spread=1.0, seed=100 * site + number) for number in range(3)]
        both = [one for rows in tests for one in feature_verdicts(rows, SETTINGS).values()]
        judge(both, SETTINGS.alpha)
        hits += any(one["verdict"] == "causal" for one in both)
    assert hits <= 2


def test_verdicts_are_corrected_over_all_tests_of_a_site() -> None:
    both = feature_verdicts(trial({"ablate": -0.2}, utterances=12, spread=0.18), SETTINGS)
    found = both["ablate"]
    assert found["beats_controls"]
    assert found["p"] < SETTINGS.alpha
    judge([found], SETTINGS.alpha)
    assert found["verdict"] == "causal"
    judge([found, *({"p": 0.9, "beats_controls": False} for _ in range(int(SETTINGS.alpha / found["p"]) + 1))], 0.05)
    assert found["q"] > SETTINGS.alpha
    assert found["verdict"] == "undecided"


def test_a_claim_with_too_few_utterances_is_left_out() -> None:
    assert set(feature_verdicts(trial({}, utterances=LEAST), SETTINGS)) == {"ablate", "steer"}
    assert feature_verdicts(trial({}, utterances=LEAST - 1), SETTINGS) == {}
    assert set(feature_verdicts(trial({}, others=0), SETTINGS)) == {"ablate"}


def patched(shares: dict[str, float], errors: dict[str, int] | None = None, control: float = 0.0) -> pd.DataFrame:
    """Parts that restore a share of the loss; `features` has controls that restore about `control`."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(15):
        clean, lost = rng.normal(-2, 0.5), rng.uniform(1, 4)
        conditions = [(name, 0, share) for name, share in {"clean": 1.0, "noisy": 0.0, **shares}.items()]
        conditions += [("features", draw, control + 0.01 * (draw - 3.5)) for draw in range(1, 1 + DRAWS)]
        for condition, draw, share in conditions:
            target, other = clean - (1 - share) * lost, 2 * clean - (1 - share**2) * lost
            place = {"utterance": f"u{number}", "speaker": f"s{number % 3}", "condition": condition, "draw": draw}
            scores = {"target": target, "targets": 1, "other": other, "others": 2}
            rows.append({**place, **scores, "errors": (errors or {}).get(condition, 0), "words": 4})
    return pd.DataFrame(rows)


def test_the_restored_share_is_the_planted_one() -> None:
    shares = {"word.encoder_2": 0.75, "mlp_2": 0.5, "features": 0.25}
    table = patching_table(patched(shares, {"noisy": 2, "mlp_2": 1}, control=0.1), SETTINGS).set_index("part")
    assert list(table.index) == ["clean", "noisy", *shares, "features_control"]
    for part, share in {"clean": 1.0, "noisy": 0.0, **shares}.items():
        assert table.loc[part, "recovered"] == pytest.approx(share)
        assert table.loc[part, "recovered_low"] == pytest.approx(share)
        assert table.loc[part, "recovered_all"] == pytest.approx((share + share**2) / 2)
    assert table.loc["features_control", "recovered"] == pytest.approx(0.1)
    assert table["wer"].to_dict()["noisy"] == 0.5
    assert np.isnan(table["wer"].to_dict()["features_control"])


def test_utterances_that_noise_helps_count_in_the_restored_share() -> None:
    rows = patched({"mlp_2": 0.5})
    helped = (rows["utterance"] == "u0") & (rows["condition"] != "noisy")
    rows.loc[helped, "target"] -= 5
    wide = rows[rows["draw"] == 0].pivot(index="utterance", columns="condition", values="target")
    gain, lost = (wide["mlp_2"] - wide["noisy"]).sum(), (wide["clean"] - wide["noisy"]).sum()
    table = patching_table(rows, SETTINGS).set_index("part")
    assert table.loc["mlp_2", "recovered"] == pytest.approx(gain / lost)
    assert table.loc["clean", "recovered"] == pytest.approx(1)


@pytest.mark.parametrize(("control", "verdict"), [(0.0, "causal"), (0.25, "undecided"), (0.4, "undecided")])
def test_patched_features_are_held_against_their_controls(control: float, verdict: str) -> None:
    found = patched_features_verdict(patched({"features": 0.25}, control=control), SETTINGS)
    judge([found], SETTINGS.alpha)
    assert found["verdict"] == verdict
    assert found["effect"] > 0


def test_noise_that_takes_nothing_leaves_nothing_to_restore() -> None:
    table = patching_table(patched({"mlp_2": 0.5}).assign(target=-1.0, other=-1.0), SETTINGS)
    assert (table[["recovered", "recovered_all"]] == 0).all(axis=None)
