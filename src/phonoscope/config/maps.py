"""Parameters of the maps."""

from pydantic import Field

from phonoscope.config.section import Section


class MapsConfig(Section):
    """Frames by t-SNE, coloured by phone group, speaker and F0."""

    layers: tuple[int, ...] = Field(default=(1, 2, 4, 8), min_length=1)  # RVQ layers, but for those a codec lacks
    frames: int = Field(default=10_000, ge=1)  # frames of each codec, drawn at random
    per_utterance: int = Field(default=40, ge=1)  # frames of one utterance, at most
    pca_dims: int = Field(default=50, ge=2)  # principal components that the vectors are reduced to before
    perplexity: float = Field(default=30, gt=0)  # of t-SNE, in codes; less where fewer are in use
    max_iter: int = Field(default=500, ge=250)  # steps of t-SNE
    speakers: int = Field(default=8, ge=1, le=8)  # the most frequent ones have a colour, the others are grey
    seed: int = Field(default=42, ge=0)  # draws the frames; t-SNE's seed
