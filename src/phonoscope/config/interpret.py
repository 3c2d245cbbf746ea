"""Parameters of the interpretation of features."""

from pydantic import Field

from phonoscope.config.section import Section


class InterpretConfig(Section):
    """Windows, selectivity and statistics of every feature of a site."""

    seed: int = Field(default=0, ge=0)  # seed of the random forest and the t-SNE maps
    max_frames: int = Field(default=500_000, ge=1)  # frames at most; of more, every n-th utterance is taken
    top_k: int = Field(default=20, ge=1, le=99)  # activating windows kept of each feature
    per_utterance: int = Field(default=2, ge=1)  # windows that a feature takes from one utterance; they do not overlap
    clip_s: float = Field(default=1.0, ge=0.1, le=10.0)  # length of a window, the feature's highest frame in the middle
    clip_features: int = Field(default=32, ge=0)  # features whose windows become clips, the best phone detectors first
    silence: bool = False  # whether SIL is a phone; else its frames count for density and windows only
    min_segments: int = Field(default=10, ge=1)  # spoken fewer times, a phone is not chosen on train or scored on eval
    words: int = Field(default=100, ge=0)  # words, the most frequent first, that mean activations are given for
    confidence: float = Field(default=0.95, gt=0, lt=1)  # coverage of the interval of Hedges' g
    alpha: float = Field(default=0.05, gt=0, lt=1)  # false discovery rate over features; level in the power analysis
    power: float = Field(default=0.8, gt=0, lt=1)  # power that the needed number of speakers is given for
    trees: int = Field(default=100, ge=1)  # trees of the random forest that tells the sexes apart
    forest_utterances: int = Field(default=2000, ge=10)  # utterances at most that the forest sees
    map_points: int = Field(default=400, ge=10)  # utterances, and features, at most in a t-SNE map
