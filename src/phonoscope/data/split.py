"""The split: train and eval utterances, and folds of speakers."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self

from phonoscope.data.tables import naming, read_json
from phonoscope.errors import DataError
from phonoscope.files import write_json
from phonoscope.stats import evenly_spaced


@dataclass(frozen=True)
class Split:
    """Sorted utterance ids of `train` and `eval`, and disjoint, sorted `speaker_folds`."""

    train: list[str]
    eval: list[str]
    speaker_folds: list[list[str]] = field(default_factory=list)
    official: bool = False
    """The corpus's own split, which may have takes of one word by one speaker on both sides."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read split.json. Raises `DataError` if it is missing or not valid."""
        with naming(path):
            content = read_json(path)
            if not isinstance(content, dict) or not {"train", "eval"} <= content.keys():
                raise DataError("not a split: it needs the lists train and eval")
            split = cls(
                content["train"], content["eval"], content.get("speaker_folds", []), content.get("official", False)
            )
            split.validate()
            return split

    @classmethod
    def from_arrays(
        cls,
        train: Iterable[str],
        eval: Iterable[str],  # noqa: A002 (the field's name)
        speaker_folds: Iterable[Iterable[str]] = (),
    ) -> Self:
        """From ids in any order. Raises `DataError` if an utterance is on both sides."""
        split = cls(sorted(train), sorted(eval), [sorted(fold) for fold in speaker_folds])
        split.validate()
        return split

    def save(self, path: Path) -> None:
        """Write split.json."""
        write_json(path, asdict(self))

    def sample(self, train: int, eval: int) -> list[str]:  # noqa: A002 (the field's name)
        """Evenly spaced utterances of both sides, `train` and `eval` of them; 0 takes all of a side."""
        return self.spaced("train", train) + self.spaced("eval", eval)

    def spaced(self, side: Literal["train", "eval"], count: int) -> list[str]:
        """At most `count` evenly spaced utterances of one side; 0 takes all."""
        names = sorted(self.train if side == "train" else self.eval)
        return [names[i] for i in evenly_spaced(len(names), count or len(names))]

    def validate(self) -> None:
        """Raise `DataError` for an utterance on both sides, or a speaker in two folds."""
        if both := set(self.train) & set(self.eval):
            raise DataError(f"utterance {min(both)!r} is in train and in eval")
        speakers = [speaker for fold in self.speaker_folds for speaker in fold]
        if len(set(speakers)) < len(speakers):
            raise DataError("a speaker is in two folds")
