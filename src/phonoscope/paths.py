"""Where every artifact lives, relative to the root of the checkout."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
STATE = Path(".phonoscope")  # ignored by git and DVC: timings, environment records, resumable shards

CORPUS = Path("data/corpus")
MANIFEST = CORPUS / "manifest.parquet"
PHONE_EVENTS = CORPUS / "phone_events.parquet"
REJECTED = CORPUS / "rejected.csv"
ALIGNMENTS = Path("data/alignments")
F0_TRACKS = ALIGNMENTS / "f0.parquet"
SPLIT = Path("data/split.json")
SUMMARY = Path("metrics/summary.json")
COMPARISON = Path("metrics/compare")
COMPARISON_PLOTS = Path("plots/compare")


def stage_metrics(stage: str) -> Path:
    return Path("metrics") / f"{stage}.csv"


def codec_model(codec: str) -> Path:
    return Path("models/codecs") / codec


def codec_metrics(codec: str) -> Path:
    return Path("metrics/codecs") / f"{codec}.csv"


def tokens_dir(codec: str) -> Path:
    return Path("data/tokens") / codec


def tokens(codec: str) -> Path:
    return tokens_dir(codec) / "tokens.parquet"


def codebooks(codec: str) -> Path:
    return tokens_dir(codec) / "codebooks.safetensors"


def encode_metrics(codec: str) -> Path:
    return Path("metrics/encode") / f"{codec}.csv"


def probes(codec: str) -> Path:
    return Path("models/probes") / codec


def probe_metrics(codec: str) -> Path:
    return Path("metrics/probes") / f"{codec}.csv"
