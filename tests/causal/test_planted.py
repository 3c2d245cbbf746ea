"""The study of a planted listener: what it hears depends on the changed activations in a way that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from phonoscope.causal import study, trials
from phonoscope.config.causal import CausalConfig
from phonoscope.config.sites import Site
from phonoscope.whisper import Whisper
from phonoscope.whisper.patching import Outcome, Speech

from .test_stage import checkout, prepared, trial_speech
from .test_trials import Axes

__all__ = ["checkout", "prepared"]
SITE = Site.parse("encoder_2")
SETTINGS = CausalConfig(features=1, utterances=6, words=5, talkers=2, max_wer=99)
FEATURES = pd.DataFrame({"feature": range(24), "density": 0.1, "mean_active": 1.0, "detects": ""})


class Dense(Axes):
    """Features along axes, and silent ones, which a match by density over all frames takes for controls."""

    def __init__(self) -> None:
        super().__init__(8)
        self.W_dec = torch.cat([self.W_dec, torch.eye(8)])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        found = (x @ self.W_dec.T).abs()
        found[:, 16:] = 0
        return found


def listener(harm: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Outcome]:
    """Stands in for `run_patched`: each token loses what `harm` [frames] of the changes [frames, width] says."""

    def heard(speech: Speech, patches: Mapping[Any, Any], first: int = 0, *, transcribe: bool = True) -> Outcome:
        stream = speech.streams[2]
        after = stream
        for patch in patches.values():
            after = patch(after)
        lost = [harm(changed - before).sum() for changed, before in zip(after, stream, strict=True)]
        tokens = [len(one.ids) + 1 for one in speech.tokens]
        log_probs = [torch.full((count,), -float(loss)).double() for count, loss in zip(tokens, lost, strict=True)]
        return Outcome(log_probs, ["w1 w2" for _ in tokens] if transcribe else [])

    return heard


HARMS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "the feature's direction": (lambda change: change[:, 3] ** 2, "causal"),
    "any change as long": (lambda change: change.norm(dim=1), "undecided"),
    "another direction": (lambda change: change[:, 4] ** 2, "undecided"),
    "nothing": (lambda change: 0 * change[:, 0], "undecided"),
}


@pytest.mark.parametrize("kind", HARMS)
def test_only_a_direction_that_matters_beyond_its_controls_is_causal(
    tiny: Whisper, checkout: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    harm, verdict = HARMS[kind]
    monkeypatch.setattr(trials, "run_patched", listener(harm))
    phones = pd.DataFrame({"phone": ["S"], "feature": [3], "scored": [True], "auroc_train": [0.9]})
    setting = trials.Setting(tiny, SITE, Dense(), "none", 1.0)  # type: ignore[arg-type]
    result = study.run_study(SITE, phones, FEATURES, trial_speech(), SETTINGS, lambda: setting)
    assert dict(zip(result.verdicts["intervention"], result.verdicts["verdict"], strict=True)) == {
        "ablate": verdict,
        "steer": verdict,
    }
    if kind == "any change as long":
        row = result.verdicts.iloc[0]
        np.testing.assert_allclose(row["effect"], [row["control_lowest"], row["control_highest"]], rtol=1e-4)
        assert row["effect"] < 0
