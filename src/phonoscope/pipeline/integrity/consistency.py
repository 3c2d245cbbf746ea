"""Whether artifacts agree with each other: manifest and audio, split and manifest, tokens and durations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from phonoscope.data import Split

SLACK_S = 1e-4
"""Less than one sample at 8 kHz."""


def disagreements(root: Path, unsound: Collection[str]) -> Iterator[tuple[str, str]]:
    """Artifacts below `root` that disagree with others, with the reason. Skips missing and `unsound` files."""

    def compare(check: Callable[[], Iterator[str]], name: Path, *others: Path) -> Iterator[tuple[str, str]]:
        """Faults of the artifact `name` by `check`, which also reads `others`."""
        if not all((root / each).is_file() and each.as_posix() not in unsound for each in (name, *others)):
            return
        try:
            for reason in check():
                yield name.as_posix(), reason
        except ImportError:  # a missing package is not the file's fault
            raise
        except Exception as error:  # readable damaged content may hold anything
            beside = f" with {' and '.join(map(Path.as_posix, others))}" if others else ""
            reason = " ".join(str(error).split())
            yield name.as_posix(), f"cannot be compared{beside} ({type(error).__name__}: {reason})"

    from phonoscope.data import Codebooks, Features, Manifest, Split, Tokens

    def tokens(codec: str) -> Iterator[str]:
        books = Codebooks.load(root / paths.codebooks(codec))
        if not books.frame_rate_hz:
            raise DataError("the codebooks name no frame rate")
        table = Tokens.load(root / paths.tokens(codec), books.sizes, books.frame_rate_hz)
        return table.faults(manifest().by_utterance("duration_s"))

    def manifest() -> Manifest:
        return Manifest.load(root / paths.MANIFEST)

    def features(folder: Path) -> Iterator[str]:
        Features.load(folder)
        return iter(())

    def split() -> Iterator[str]:
        return check_split(Split.load(root / paths.SPLIT), manifest().by_utterance("speaker"))

    for folder in sorted((root / paths.FEATURES).glob("*")):
        files = [paths.features(folder.name) / name for name in ("features.npy", "index.parquet", "features.json")]
        yield from compare(partial(features, folder), *files)
    for codec in sorted(folder.name for folder in (root / paths.tokens_dir("")).glob("*")):
        for table in (paths.tokens(codec), paths.latents(codec)):
            yield from compare(partial(check_utterances, root / table, root / paths.F0_TRACKS), table, paths.F0_TRACKS)
        yield from compare(partial(tokens, codec), paths.tokens(codec), paths.codebooks(codec), paths.MANIFEST)
    yield from compare(lambda: check_audio_files(manifest().table, root / paths.CORPUS), paths.MANIFEST)
    yield from compare(split, paths.SPLIT, paths.MANIFEST)


def check_audio_files(manifest: pd.DataFrame, folder: Path) -> Iterator[str]:
    """Disagreements between a manifest and the audio files under `folder`."""
    import soundfile as sf

    for name, sha256, duration_s in zip(*(manifest[key] for key in ("path", "sha256", "duration_s")), strict=True):
        path = folder / name
        if not path.is_file():
            yield f"{name} is in the manifest, but not in the folder"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield f"{name} is not the file of the manifest (sha256)"
        elif abs(sf.info(path).duration - duration_s) > SLACK_S:
            yield f"{name} lasts {sf.info(path).duration:.4f} s, not {duration_s:.4f} s"
    known = set(manifest["path"])
    for file in sorted(folder.rglob("*.flac")):
        if file.relative_to(folder).as_posix() not in known:
            yield f"{file.relative_to(folder).as_posix()} is in the folder, but not in the manifest"


def check_split(split: Split, speakers: Mapping[str, str]) -> Iterator[str]:
    """Disagreements between a split and the speakers of the utterances by id."""
    sides = {"train": split.train, "eval": split.eval}
    for name, utterances in sides.items():
        if not utterances:
            yield f"{name} is empty"
        if unknown := sorted(set(utterances) - speakers.keys()):
            yield f"{name} holds {unknown[0]}, which the manifest lacks"
        if len(set(utterances)) < len(utterances):
            yield f"{name} holds an utterance twice"
    if absent := sorted(speakers.keys() - {*split.train, *split.eval}):
        yield f"{absent[0]} of the manifest is in neither train nor eval"
    folds = {speaker for fold in split.speaker_folds for speaker in fold}
    if missing := {speakers[each] for side in sides.values() for each in side if each in speakers} - folds:
        yield f"speaker {min(missing)} is in no fold"


def check_utterances(table: Path, tracks: Path) -> Iterator[str]:
    """Disagreements between the utterances of a table and the aligned utterances, which the F0 tracks list."""
    from phonoscope.data.tables import read_frame

    present, aligned = (set(read_frame(path, ["utterance"])["utterance"].unique()) for path in (table, tracks))
    if missing := sorted(aligned - present):
        yield f"lacks {missing[0]}, which was aligned"
    if foreign := sorted(present - aligned):
        yield f"holds {foreign[0]}, which was not aligned"
