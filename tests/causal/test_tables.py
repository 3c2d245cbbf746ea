from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phonoscope.causal.tables import LEAST, beats_controls, feature_verdicts, features_beat_controls, patching_table
from phonoscope.config.causal import CausalConfig

SETTINGS = CausalConfig(samples=200)
COLUMNS = ["utterance", "condition", "target", "targets", "other", "others", "errors", "words"]
CONDITIONS = ("clean", "ablate", "ablate_control", "steer", "steer_control")


def trial(effects: dict[str, float], utterances: int = 20, spread: float = 0.1, others: int = 3) -> pd.DataFrame:
    """Two target words and some others an utterance; a condition changes each target word by its effect."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(utterances):
        base = rng.normal(-5, 2)
        for condition in CONDITIONS:
            change = effects.get(condition, 0.0)
            change += rng.normal(0, spread) if condition != "clean" else 0.0
            target, other = base + 2 * change, others * (base + change)
            rows.append((f"u{number}", condition, target, 2, other, others, int(condition == "ablate"), 5))
    return pd.DataFrame(rows, columns=COLUMNS)


def test_a_planted_effect_is_found_and_beats_its_control() -> None:
    verdicts = feature_verdicts(trial({"ablate": -1.0, "steer": -0.5}), SETTINGS)
    assert verdicts["ablate"]["effect"] == pytest.approx(-1, abs=0.1)
    assert verdicts["ablate"]["difference"] == pytest.approx(-1, abs=0.1)
    assert verdicts["steer"]["effect"] == pytest.approx(-0.5, abs=0.1)
    assert beats_controls(verdicts["ablate"])
    assert beats_controls(verdicts["steer"])
    assert (verdicts["ablate"]["words"], verdicts["steer"]["words"]) == (40, 60)
    assert [verdicts["ablate"][name] for name in ("wer", "wer_clean", "control_wer")] == [0.2, 0, 0]


@pytest.mark.parametrize(
    "effects",
    [{}, {"ablate": -1.0, "ablate_control": -1.0}, {"ablate": 1.0}, {"ablate": 0.5, "ablate_control": 1.0}],
    ids=["nothing", "as the control", "helps", "helps less than the control"],
)
def test_what_does_not_beat_its_control_is_not_causal(effects: dict[str, float]) -> None:
    assert not beats_controls(feature_verdicts(trial(effects), SETTINGS)["ablate"])


def test_chance_alone_is_rarely_causal() -> None:
    rng, hits = np.random.default_rng(5), 0
    for _ in range(40):
        frame = trial({}, utterances=12)
        noisy = frame["condition"] != "clean"
        frame.loc[noisy, "target"] += rng.normal(0, 1, noisy.sum())
        hits += beats_controls(feature_verdicts(frame, SETTINGS)["ablate"])
    assert hits <= 6


def test_a_claim_with_too_few_utterances_is_left_out() -> None:
    assert set(feature_verdicts(trial({}, utterances=LEAST), SETTINGS)) == {"ablate", "steer"}
    assert feature_verdicts(trial({}, utterances=LEAST - 1), SETTINGS) == {}
    assert set(feature_verdicts(trial({}, others=0), SETTINGS)) == {"ablate"}


def patched(shares: dict[str, float], errors: dict[str, int] | None = None) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(15):
        clean, lost = rng.normal(-2, 0.5), rng.uniform(1, 4)
        for condition, share in {"clean": 1.0, "noisy": 0.0, **shares}.items():
            target, other = clean - (1 - share) * lost, 2 * clean - (1 - share**2) * lost
            rows.append((f"u{number}", condition, target, 1, other, 2, (errors or {}).get(condition, 0), 4))
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_restored_share_is_the_planted_one() -> None:
    shares = {"word.encoder_2": 0.75, "mlp_2": 0.5, "features": 0.25, "features_control": 0.0}
    table = patching_table(patched(shares, {"noisy": 2, "mlp_2": 1}), SETTINGS).set_index("part")
    for part, share in {"clean": 1.0, "noisy": 0.0, **shares}.items():
        assert table.loc[part, "recovered"] == pytest.approx(share)
        assert table.loc[part, "recovered_low"] == pytest.approx(share)
        assert table.loc[part, "recovered_all"] == pytest.approx((share + share**2) / 2)
    assert table["wer"].to_dict()["noisy"] == 0.5
    gain = features_beat_controls(patched(shares), SETTINGS)
    assert gain.low > 0


def test_noise_that_takes_nothing_leaves_nothing_to_restore() -> None:
    table = patching_table(patched({"mlp_2": 0.5}).assign(target=-1.0, other=-1.0), SETTINGS)
    assert (table[["recovered", "recovered_all"]] == 0).all(axis=None)
