"""Parameters of the causal tests."""

from typing import Literal

from pydantic import Field

from phonoscope.config.section import Section


class CausalConfig(Section):
    """Features ablated and steered during transcription, and clean activations patched into noisy speech."""

    features: int = Field(default=6, ge=1)  # phone detectors tested, best first; each against a random feature as dense
    utterances: int = Field(default=10, ge=5)  # eval utterances at most, of each feature and of the patching
    steer: float = Field(default=2.0, gt=0)  # strength of steering, in units of the feature's mean where it is active
    snr_db: float = Field(default=5.0, ge=-20, le=60)  # signal-to-noise ratio of the noisy speech
    noise: Literal["babble", "white"] = "babble"  # `babble`: other utterances of the corpus at once; `white`: Gaussian
    talkers: int = Field(default=6, ge=1)  # utterances that make up the babble
    samples: int = Field(default=1000, ge=10)  # bootstrap resamples of the utterances
    confidence: float = Field(default=0.95, gt=0, lt=1)  # coverage of the intervals
    seed: int = Field(default=0, ge=0)  # seed of the controls, the noise and the bootstrap
