"""Parameters of the codec geometry."""

from typing import Literal, Self

from pydantic import Field, model_validator

from phonoscope.config.section import Section

DrawnName = Literal["codes_mean", "codes_concat", "latent_sum", "projections_concat", "latent", "histogram"]
RepresentationName = Literal[DrawnName, "layers"]
FOUR: tuple[DrawnName, ...] = ("codes_mean", "codes_concat", "latent_sum", "projections_concat")


class WordProbeConfig(Section):
    """Logistic regression of the word on a clip's vector, cross-validated over disjoint speakers."""

    C: float = Field(default=100.0, gt=0)  # inverse strength of the L2 penalty, on vectors of mean squared norm 1
    max_iter: int = Field(default=300, ge=1)  # L-BFGS iterations
    folds: int = Field(default=5, ge=2)  # speaker-disjoint folds; a corpus of fewer speakers takes one fold a speaker


class GeometryConfig(Section):
    """Whether isolated words cluster in codec space, and under which pooling."""

    words: tuple[str, ...] = ("zero", "one", "two", "yes", "no")  # words of the view `notebook`
    samples_per_word: int = Field(default=10, ge=2)  # clips of each of them, spread over speakers
    full_view: bool = True  # whether the view `full`, every clip of every word, is scored too
    representations: tuple[RepresentationName, ...] = (*FOUR, "latent", "layers", "histogram")
    """What is pooled and scored; `layers` is every RVQ layer alone."""
    projections: tuple[DrawnName, ...] = FOUR  # which of them are also projected by PCA and t-SNE
    perplexity: int = Field(default=30, ge=1)  # of t-SNE; n clips take at most n - 1
    permutations: int = Field(default=199, ge=1)  # of words within speakers, and of speakers within words
    permutation_clips: int = Field(default=1000, ge=4)  # most clips for these tests; of more, a sample is taken
    confidence: float = Field(default=0.95, gt=0, lt=1)  # coverage of the intervals
    probe: WordProbeConfig = WordProbeConfig()  # the linear probe
    max_quadratic_clips: int = Field(default=10_000, ge=4)  # above it t-SNE, probe and pairwise scores take a sample
    seed: int = Field(default=42, ge=0)  # of the choice of clips, t-SNE and the permutations

    @model_validator(mode="after")
    def _lists(self) -> Self:
        if len(set(self.words)) < 2:
            raise ValueError("words: name two different words or more, or there is nothing to tell apart")
        for key in ("words", "representations", "projections"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: {', '.join(values)} names one twice")
        if not self.representations:
            raise ValueError("representations: the list is empty; name one or more")
        return self
