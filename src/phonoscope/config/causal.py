"""Parameters of the causal tests."""

from typing import Literal

from pydantic import Field

from phonoscope.config.section import Section


class CausalConfig(Section):
    """Features ablated and steered during transcription, and clean activations patched into noisy speech."""

    features: int = Field(default=6, ge=1)  # phone detectors tested, the best on train first
    controls: int = Field(default=6, ge=5)  # for each feature: half other features active there, the rest random
    words: int = Field(default=40, ge=5)  # words with its phone for each feature, at least, where eval has as many
    utterances: int = Field(default=10, ge=5)  # eval utterances of each feature at least, and of the patching at most
    pool: int = Field(default=200, ge=5)  # eval utterances, at most, from which those that Whisper understands are used
    max_wer: float = Field(default=0.25, ge=0)  # most word errors, per word of an utterance, to count as understood
    steer: float = Field(default=2.0, gt=0)  # strength of steering, in units of the feature's mean where it is active
    snr_db: float = Field(default=5.0, ge=-20, le=60)  # signal-to-noise ratio of the noisy speech
    noise: Literal["babble", "white"] = "babble"  # `babble`: other utterances of the corpus at once; `white`: Gaussian
    talkers: int = Field(default=6, ge=1)  # utterances that make up the babble
    confidence: float = Field(default=0.95, gt=0, lt=1)  # coverage of the intervals
    alpha: float = Field(default=0.05, gt=0, lt=1)  # false discovery rate over a site's features and interventions
    seed: int = Field(default=0, ge=0)  # seed of the controls, the choice of utterances and the noise
