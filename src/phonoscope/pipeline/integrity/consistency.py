"""Whether artifacts agree with each other: manifest and audio, split and manifest, tokens and durations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import soundfile as sf

from phonoscope import paths
from phonoscope.corpus.split import leaks
from phonoscope.data import Codebooks, Features, Manifest, Split, Tokens
from phonoscope.data.tables import read_frame
from phonoscope.errors import DataError

SLACK_S = 1e-4  # less than one sample at 8 kHz


def disagreements(root: Path, unsound: Collection[str]) -> Iterator[tuple[str, str]]:
    """Artifacts below `root` that disagree with others, with the reason. Skips missing and `unsound` files."""
    for check, *files in _comparisons(root):
        if not all((root / file).is_file() and file.as_posix() not in unsound for file in files):
            continue
        name, *others = map(Path.as_posix, files)
        try:
            yield from ((name, reason) for reason in check(*(root / file for file in files)))
        except ImportError:  # a missing package is not the file's fault
            raise
        except Exception as error:  # readable damaged content may hold anything
            beside = f" with {' and '.join(others)}" if others else ""
            yield name, f"cannot be compared{beside} ({type(error).__name__}: {' '.join(str(error).split())})"


def _comparisons(root: Path) -> Iterator[tuple[Callable[..., Iterable[str]], *tuple[Path, ...]]]:
    """Each check with the files that it reads; its faults are the first file's."""
    for site in sorted(folder.name for folder in (root / paths.FEATURES).glob("*")):
        files = (paths.features(site) / name for name in ("features.npy", "index.parquet", "features.json"))
        yield _check_features, *files
    for codec in sorted(folder.name for folder in (root / paths.tokens_dir("")).glob("*")):
        yield check_utterances, paths.tokens(codec), paths.F0_TRACKS
        yield check_utterances, paths.latents(codec), paths.F0_TRACKS
        yield _check_tokens, paths.tokens(codec), paths.codebooks(codec), paths.MANIFEST
    yield check_audio_files, paths.MANIFEST
    yield check_split, paths.SPLIT, paths.MANIFEST


def _check_features(values: Path, *_: Path) -> list[str]:
    Features.load(values.parent)
    return []


def _check_tokens(table: Path, codebooks: Path, manifest: Path) -> Iterator[str]:
    books = Codebooks.load(codebooks)
    if not books.frame_rate_hz:
        raise DataError("the codebooks name no frame rate")
    durations_s = Manifest.load(manifest).by_utterance("duration_s")
    return Tokens.load(table, books.sizes, books.frame_rate_hz).faults(durations_s)


def check_audio_files(manifest: Path) -> Iterator[str]:
    """Disagreements between a manifest and the audio files in its folder."""
    rows, folder = Manifest.load(manifest).table, manifest.parent
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*.flac")}
    for name, sha256, duration_s in rows[["path", "sha256", "duration_s"]].itertuples(index=False):
        if name not in there:
            yield f"{name} is in the manifest, but not in the folder"
        elif hashlib.sha256((folder / name).read_bytes()).hexdigest() != sha256:
            yield f"{name} is not the file of the manifest (sha256)"
        elif abs((lasts_s := sf.info(folder / name).duration) - duration_s) > SLACK_S:
            yield f"{name} lasts {lasts_s:.4f} s, not {duration_s:.4f} s"
    yield from (f"{name} is in the folder, but not in the manifest" for name in sorted(there - set(rows["path"])))


def check_split(split_file: Path, manifest: Path) -> Iterator[str]:
    """Disagreements between a split and the utterances and speakers of a manifest, and what is on both sides."""
    split, rows = Split.load(split_file), Manifest.load(manifest)
    speakers = rows.by_utterance("speaker")
    names = [*split.train, *split.eval]
    yield from (f"{side} is empty" for side in ("train", "eval") if not getattr(split, side))
    yield from _compare(names, speakers, "in the manifest")
    if len(set(names)) < len(names):
        yield "holds an utterance twice"
    folds = {speaker for fold in split.speaker_folds for speaker in fold}
    if missing := {speakers[name] for name in names if name in speakers} - folds:
        yield f"speaker {min(missing)} is in no fold"
    yield from leaks(rows, split)


def check_utterances(table: Path, tracks: Path) -> Iterator[str]:
    """Disagreements between the utterances of a table and the aligned utterances, which the F0 tracks list."""
    present, aligned = (read_frame(path, ["utterance"])["utterance"].unique() for path in (table, tracks))
    return _compare(present, aligned, "aligned")


def _compare(present: Iterable[str], expected: Iterable[str], state: str) -> Iterator[str]:
    missing, foreign = set(expected).difference(present), set(present).difference(expected)
    if missing:
        yield f"lacks {min(missing)}, which is {state}"
    if foreign:
        yield f"holds {min(foreign)}, which is not {state}"
