"""Parameters of the corpus and of its split."""

from typing import Self

from pydantic import Field, model_validator

from phonoscope.config.section import Section


class CorpusConfig(Section):
    """Where the speech comes from, and how much of it is taken."""

    source: str = Field(default="espeak", min_length=1)
    """Layout of the corpus in `root`: a module of `phonoscope.corpus.sources`. `espeak` synthesizes it from the texts
    there."""
    root: str = Field(default="corpora/espeak", min_length=1)
    """Folder of the corpus; absolute unless it is in this repository."""
    subset: str = ""
    """LibriSpeech: a subset folder such as train-clean-100. Common Voice: a TSV such as validated. Empty: all."""
    max_utterances: int = Field(default=0, ge=0)
    """At most this many utterances, spread evenly over speakers; 0 takes all."""
    max_rejected: float = Field(default=0.1, ge=0, le=1)
    """The share of utterances that may be unusable before the stage stops."""
    sentences_per_speaker: int = Field(default=22, ge=0)
    """espeak: sentences each speaker reads, about (all speakers together read exactly this many times their number)."""
    takes: int = Field(default=4, ge=0)
    """espeak: how often each speaker says each isolated word, at varying rate and pitch."""
    neural_voice: bool = True  # espeak: add the neural voice as one more speaker
    words: tuple[str, ...] = ()  # speech_commands: the words to take; empty takes all
    seed: int = Field(default=42, ge=0)
    """Draws the sentences of each speaker, the takes' rate and pitch, and the sample of `max_utterances`."""

    @model_validator(mode="after")
    def _something_to_say(self) -> Self:
        if self.source == "espeak" and self.sentences_per_speaker == 0 and self.takes == 0:
            raise ValueError("sentences_per_speaker and takes are both 0, so no speaker says anything")
        return self


class SplitConfig(Section):
    """How utterances are divided into train and eval, and speakers into folds."""

    eval_fraction: float = Field(default=0.1, gt=0, le=0.5)  # share of each speaker's utterances held out
    official: bool = True  # use the corpus's own split where it has one (FSDD, Speech Commands)
    folds: int = Field(default=5, ge=2)  # speaker-disjoint folds; never more than there are speakers
    seed: int = Field(default=42, ge=0)  # draws the utterances that are held out, and the folds
