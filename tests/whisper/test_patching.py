from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import gelu

from phonoscope.config.sites import Site
from phonoscope.errors import DataError
from phonoscope.whisper import Whisper
from phonoscope.whisper.patching import Reconstruct, faithfulness

from .checkout import SENTENCES, noise

Speech = list[NDArray[np.float32]]


def perfect(whisper: Whisper, site: str) -> Reconstruct:
    """A dictionary that loses nothing."""
    block = whisper.model.model.encoder.layers[1]
    return (lambda x: block.fc2(gelu(block.fc1(x)))) if site.startswith("mlp") else (lambda x: x)


def score(
    whisper: Whisper, site: str, samples: Speech, texts: list[str], rebuild: Reconstruct = lambda x: x, **settings: Any
) -> dict[str, float]:
    settings = {"normalize": "none", "context_s": 1.0} | settings
    return faithfulness(whisper, Site.parse(site), samples, texts, rebuild, **settings)


@pytest.mark.parametrize("site", ["encoder_2", "encoder_0", "mlp_2", "encoder_all", "decoder_1", "attention_3"])
@pytest.mark.parametrize("normalize", ["final", "none"])
def test_a_perfect_reconstruction_changes_nothing(tiny: Whisper, site: str, normalize: str) -> None:
    samples, rebuild = [noise(9000), noise(5000, 1)], perfect(tiny, site)
    scores = score(tiny, site, samples, ["w1 w2", "w3"], rebuild, normalize=normalize)
    assert scores["ce_sae"] == pytest.approx(scores["ce_clean"], rel=1e-5)
    assert scores["wer_sae"] == scores["wer_clean"]
    harm = scores["ce_zero"] - scores["ce_clean"]
    assert scores["ce_recovered"] == pytest.approx(1 if harm > 0 else 0, abs=1e-2)


def test_speech_survives_a_perfect_reconstruction_and_not_zeros(packaged: Whisper, speech: Speech) -> None:
    scores = score(packaged, "encoder_3", speech, SENTENCES, normalize="final", context_s=10.0)
    assert scores["wer_clean"] == scores["wer_sae"] < 0.2
    assert scores["wer_zero"] > 0.5
    assert scores["ce_zero"] > scores["ce_clean"] + 1
    assert scores["ce_recovered"] == pytest.approx(1, abs=1e-3)


def test_a_reconstruction_of_zeros_in_raw_units_is_the_zero_ablation(tiny: Whisper) -> None:
    scores = score(tiny, "encoder_2", [noise(9000)], ["w1 w2"], torch.zeros_like)
    assert scores["ce_sae"] == scores["ce_zero"]
    assert scores["wer_sae"] == scores["wer_zero"]
    assert scores["ce_recovered"] == 0


def test_padding_is_not_replaced(tiny: Whisper) -> None:
    seen = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x

    score(tiny, "encoder_1", [noise(6400), noise(3200)], ["w1", "w2"], look, context_s=5.0)
    assert sum(seen) == 30


def test_utterances_without_a_transcript_are_left_out(tiny: Whisper) -> None:
    both = score(tiny, "encoder_1", [noise(6400), noise(3200)], ["w1", " "])
    assert both == score(tiny, "encoder_1", [noise(6400)], ["w1"])
    with pytest.raises(DataError, match="no utterance has a transcript"):
        score(tiny, "encoder_1", [noise(3200)], [""])
    with pytest.raises(DataError, match="longer than Whisper's 30 s"):
        score(tiny, "encoder_1", [noise(31 * 16_000)], ["w1"])
