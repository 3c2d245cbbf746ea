"""Parameters of the corpus and of its split."""

from typing import Self

from pydantic import Field, model_validator

from phonoscope.config.section import Section


class CorpusConfig(Section):
    """Where the speech comes from, and how much of it is taken."""

    source: str = Field(default="espeak", min_length=1)  # layout of `root`: a module of `phonoscope.corpus.sources`
    root: str = Field(default="corpora/espeak", min_length=1)  # corpus folder; absolute unless in this repository
    subset: str = ""  # a folder of LibriSpeech (train-clean-100) or a TSV of Common Voice (validated); empty is all
    max_utterances: int = Field(default=0, ge=0)  # utterances at most, spread evenly over speakers; 0 takes all
    max_rejected: float = Field(default=0.1, ge=0, le=1)  # share of unusable utterances above which the stage stops
    sentences_per_speaker: int = Field(default=22, ge=0)  # espeak: sentences each speaker reads, on average
    takes: int = Field(default=4, ge=0)  # espeak: how often each speaker says each word, at varying rate and pitch
    neural_voice: bool = True  # espeak: add the neural voice as one more speaker
    words: tuple[str, ...] = ()  # speech_commands: the words to take; empty takes all
    seed: int = Field(default=42, ge=0)  # draws each speaker's sentences, the takes, and the sample of utterances

    @model_validator(mode="after")
    def _something_to_say(self) -> Self:
        if self.source == "espeak" and self.sentences_per_speaker == 0 and self.takes == 0:
            raise ValueError("sentences_per_speaker and takes are both 0, so no speaker says anything")
        return self


class SplitConfig(Section):
    """How utterances are divided into train and eval, and speakers into folds."""

    eval_fraction: float = Field(default=0.2, gt=0, le=0.5)  # share of each speaker's utterances held out
    official: bool = True  # use the corpus's own split where it has one (FSDD, Speech Commands)
    folds: int = Field(default=5, ge=2)  # speaker-disjoint folds; never more than there are speakers
    seed: int = Field(default=42, ge=0)  # draws the utterances that are held out, and the folds
