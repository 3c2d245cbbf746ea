"""Real-time factors of the codecs: seconds of work per second of speech, clip by clip and in batches."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.measure import measure, median_s

if TYPE_CHECKING:
    from phonoscope.codecs.base import Codec

PACKAGED = ("encodec", "dac", "speechtokenizer")
OFFICIAL = {"encodec_24khz": 8, "dac_16khz": 12, "speechtokenizer_hubert_avg": 8, "mimi": 8, "xcodec": 8}
"""Official architectures and the number of RVQ layers used."""


def bench_encode(
    *, seconds: float, batch: int, rounds: int, threads: int, official: bool = True
) -> dict[str, dict[str, float]]:
    """Time every codec in a separate process on noise clips of `seconds`; the cost does not depend on the content.

    Times the packaged models and, with `official`, models of the official sizes with random weights.

    Returns per codec: `rtf` (clip by clip) and `rtf_batched` (`batch` clips at once), medians of `rounds`;
    `cpu_s_per_s`, CPU seconds per second of speech, clip by clip, which other work on the machine hardly raises;
    `peak_mb`; `parameters`.
    """
    results = {}
    for name in [*PACKAGED, *(OFFICIAL if official else ())]:
        work = partial(_time, seconds=seconds, batch=batch, rounds=rounds)
        measured = measure(work, name, threads, prepare=_prepare)
        results[name] = {**measured.value, "peak_mb": measured.peak_mb}
    return results


def _prepare(name: str, threads: int) -> Codec:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return build(name)


def build(name: str) -> Codec:
    """A packaged model, or one of an official architecture with random weights."""
    from phonoscope.codecs.checkpoints import load_packaged, random_codec
    from phonoscope.codecs.registry import codec_kind

    if name in PACKAGED:
        return load_packaged(name)
    if name in ("mimi", "xcodec"):
        return codec_kind("transformers").build({"model_type": name}, OFFICIAL[name])
    kind = name.partition("_")[0]
    return random_codec(kind, OFFICIAL[name], dict(codec_kind(kind).official or {}))


def _time(codec: Codec, *, seconds: float, batch: int, rounds: int) -> dict[str, float]:
    import torch

    from phonoscope.codecs.base import encode_batch

    clips = 0.1 * torch.randn(batch, round(seconds * codec.sample_rate))
    with torch.inference_mode():
        started = time.process_time()
        one = median_s(partial(encode_batch, codec, clips[:1]), rounds)
        cpu = (time.process_time() - started) / (rounds + 1)
        many = median_s(partial(encode_batch, codec, clips), rounds)
    return {
        "rtf": one / seconds,
        "rtf_batched": many / seconds / batch,
        "cpu_s_per_s": cpu / seconds,
        "parameters": float(sum(parameter.numel() for parameter in codec.model.parameters())),
    }
