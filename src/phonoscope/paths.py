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
FEATURES = Path("data/features")
SUMMARY = Path("metrics/summary.json")
SAE_REPORT = Path("metrics/sae_report")
SAE_PLOTS = Path("plots/sae")
ENCODER_REPORT = Path("metrics/encoder-report")
ENCODER_PLOTS = Path("plots/encoders")
VQ_MODELS = Path("models/vq")
VQ_METRICS = Path("metrics/vq")
VQ_REPORT = Path("metrics/vq-report")
VQ_PLOTS = Path("plots/vq")
COMPARISON = Path("metrics/compare")
GEOMETRY = Path("data/geometry")
GEOMETRY_REPORT = Path("metrics/geometry-report")
GEOMETRY_FIGURES = Path("plots/geometry/figures")  # pages, and an image of each
GEOMETRY_OVERVIEW = Path("plots/geometry/overview")  # the images that DVC shows
DEPTH = Path("data/depth")
DEPTH_REPORT = Path("metrics/depth-report")
DEPTH_PLOTS = Path("plots/depth")
COMPARISON_PLOTS = Path("plots/compare")
MAPS = Path("plots/maps")


def shards(stage: str, item: str = "") -> Path:
    """Where the finished shards of an interrupted stage wait."""
    return STATE / "shards" / stage / item


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


def latents(codec: str) -> Path:
    return tokens_dir(codec) / "latents.parquet"


def encode_metrics(codec: str) -> Path:
    return Path("metrics/encode") / f"{codec}.csv"


def probes(codec: str) -> Path:
    return Path("models/probes") / codec


def probe_metrics(codec: str) -> Path:
    return Path("metrics/probes") / f"{codec}.csv"


def depth(codec: str) -> Path:
    return DEPTH / codec


def confusion(codec: str) -> Path:
    return depth(codec) / "confusion.parquet"


def depth_metrics(codec: str) -> Path:
    return Path("metrics/depth") / f"{codec}.csv"


def depth_classes(codec: str) -> Path:
    return Path("metrics/depth_classes") / f"{codec}.csv"


def geometry(codec: str) -> Path:
    return GEOMETRY / codec


def geometry_metrics(codec: str) -> Path:
    return Path("metrics/geometry") / f"{codec}.csv"


def features(site: str) -> Path:
    return FEATURES / site


def sae_model(site: str) -> Path:
    return Path("models/sae") / site


def sae_checkpoint(site: str) -> Path:
    return STATE / "sae" / f"{site}.pt"


def sae_metrics(site: str) -> Path:
    return Path("metrics/sae") / f"{site}.csv"


def sae_training(site: str) -> Path:
    return Path("metrics/sae_training") / f"{site}.csv"


def sae_scores(site: str) -> Path:
    return Path("metrics/sae_scores") / f"{site}.csv"


def sae_l0(site: str) -> Path:
    return Path("metrics/sae_l0") / f"{site}.csv"


def causal_json(site: str) -> Path:
    return Path("metrics/causal") / f"{site}.json"


def causal_metrics(site: str) -> Path:
    return Path("metrics/causal") / f"{site}.csv"


def patching_metrics(site: str) -> Path:
    return Path("metrics/patching") / f"{site}.csv"


def causal_plots(site: str) -> Path:
    return Path("plots/causal") / site


def interpretation(site: str) -> Path:
    return Path("data/interpret") / site


def interpret_metrics(site: str) -> Path:
    return Path("metrics/interpret") / f"{site}.csv"


def interpret_scores(site: str) -> Path:
    return Path("metrics/interpret_scores") / f"{site}.csv"


def interpret_plots(site: str) -> Path:
    return Path("plots/interpret") / site


def browser(site: str) -> Path:
    return Path("plots/browse") / site


def encoder(kind: str) -> Path:
    return Path("models/encoders") / kind


def encoder_metrics(kind: str) -> Path:
    return Path("metrics/encoders") / f"{kind}.csv"


def encoder_training(kind: str) -> Path:
    return Path("metrics/encoder_training") / f"{kind}.csv"
