"""Where every artifact lives, relative to the root of the checkout."""

from collections.abc import Callable
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
NOT_APPLICABLE = Path("metrics/not-applicable.csv")
SAE_REPORT = Path("metrics/sae_report")
SAE_PLOTS = Path("plots/sae")
ENCODER_REPORT = Path("metrics/encoder-report")
ENCODER_PLOTS = Path("plots/encoders")
VQ_MODELS = Path("models/vq")
VQ_METRICS = Path("metrics/vq")
VQ_REPORT = Path("metrics/vq-report")
VQ_PLOTS = Path("plots/vq")
COMPARISON = Path("metrics/compare")
GEOMETRY_REPORT = Path("metrics/geometry-report")
GEOMETRY_FIGURES = Path("plots/geometry/figures")  # pages, and an image of each
GEOMETRY_OVERVIEW = Path("plots/geometry/overview")  # the images that DVC shows
DEPTH_REPORT = Path("metrics/depth-report")
DEPTH_PLOTS = Path("plots/depth")
COMPARISON_PLOTS = Path("plots/compare")
MAPS = Path("plots/maps")


def shards(stage: str, item: str = "") -> Path:
    """Where the finished shards of an interrupted stage wait."""
    return STATE / "shards" / stage / item


def _per(pattern: str) -> Callable[[str], Path]:
    """A path for every stage, codec, site or input, whose name replaces `*`."""
    return lambda name: Path(pattern.replace("*", name))


stage_metrics = _per("metrics/*.csv")

# by codec
codec_model = _per("models/codecs/*")
codec_metrics = _per("metrics/codecs/*.csv")
tokens_dir = _per("data/tokens/*")
tokens = _per("data/tokens/*/tokens.parquet")
codebooks = _per("data/tokens/*/codebooks.safetensors")
latents = _per("data/tokens/*/latents.parquet")
encode_metrics = _per("metrics/encode/*.csv")
probes = _per("models/probes/*")
probe_metrics = _per("metrics/probes/*.csv")
depth = _per("data/depth/*")
confusion = _per("data/depth/*/confusion.parquet")
depth_metrics = _per("metrics/depth/*.csv")
depth_classes = _per("metrics/depth_classes/*.csv")
geometry = _per("data/geometry/*")
geometry_metrics = _per("metrics/geometry/*.csv")

# by site
features = _per("data/features/*")
sae_model = _per("models/sae/*")
sae_checkpoint = _per(".phonoscope/sae/*.pt")
sae_metrics = _per("metrics/sae/*.csv")
sae_training = _per("metrics/sae_training/*.csv")
sae_scores = _per("metrics/sae_scores/*.csv")
sae_l0 = _per("metrics/sae_l0/*.csv")
causal_json = _per("metrics/causal/*.json")
causal_metrics = _per("metrics/causal/*.csv")
patching_metrics = _per("metrics/patching/*.csv")
causal_plots = _per("plots/causal/*")
interpretation = _per("data/interpret/*")
interpret_metrics = _per("metrics/interpret/*.csv")
interpret_scores = _per("metrics/interpret_scores/*.csv")
interpret_baselines = _per("metrics/interpret_baselines/*.csv")
interpret_sparse = _per("metrics/interpret_sparse/*.csv")
interpret_stability = _per("metrics/interpret_stability/*.csv")
interpret_plots = _per("plots/interpret/*")
browser = _per("plots/browse/*")

# by input of the audio encoder
encoder = _per("models/encoders/*")
encoder_metrics = _per("metrics/encoders/*.csv")
encoder_training = _per("metrics/encoder_training/*.csv")
