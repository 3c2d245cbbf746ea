"""`phonoscope inspect`: the codes of sound files, and their representations. No DVC stage."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.audio import check_audio, read_audio, resample
from phonoscope.config.params import Params
from phonoscope.data import Codebooks
from phonoscope.errors import DataError
from phonoscope.pipeline.model import open_model

if TYPE_CHECKING:
    from phonoscope.codecs.base import Codec

logger = logging.getLogger(__name__)

FIRST = 10  # values shown of each vector
STATISTICS = ("min", "max", "mean", "std")


def inspect_clips(params: Params, codec: str, clips: Sequence[Path]) -> dict[str, Any]:
    """The report on sound files. Raises `ParamsError` for an unknown codec, `DataError` for one without a model."""
    open_model.cache_clear()
    model = open_model(codec, params.codec(codec).layers, params.compute, params.training.seed)
    books = model.codebooks()
    codebooks = Codebooks.from_arrays(books.vectors, books.raw)
    shown, failed = [], []
    for clip in clips:
        try:
            shown.append(_inspect(model, codebooks, clip, params.geometry.representations))
        except DataError as error:
            reason = str(error).removeprefix(f"{clip}: ")
            logger.info("%s: %s", clip, reason)
            failed.append({"clip": str(clip), "reason": reason})
    return {"codec": codec, "clips": shown, "failed": failed}


def _inspect(model: Codec, codebooks: Codebooks, clip: Path, representations: Sequence[str]) -> dict[str, Any]:
    """The report on one clip. Raises `DataError` if it cannot be used."""
    import torch

    from phonoscope.codecs.base import device_of, encode_batch, frame_rate_hz
    from phonoscope.geometry import pool_codes

    samples, rate = read_audio(clip)
    check_audio(samples, rate)
    audio = torch.from_numpy(resample(samples, rate, model.sample_rate))[None].to(device_of(model))
    with torch.inference_mode():
        codes, latent = (part[0].cpu().numpy() for part in encode_batch(model, audio))
    pooled = pool_codes(codes, codebooks, [name for name in representations if name != "latent"])
    if "latent" in representations:
        pooled["latent"] = latent.mean(axis=1, dtype=np.float64)
    return {
        "clip": str(clip),
        "sample_rate_hz": rate,
        "duration_s": len(samples) / rate,
        "frame_rate_hz": frame_rate_hz(model),
        "codes": list(codes.shape),
        "codebooks": [
            {
                "layer": layer,
                "codes": [len(row)],
                "code_vectors": [len(row), raw.shape[1]],
                "projections": [len(row), codebooks.dims],
                "distinct": len(np.unique(row)),
                "first": row[:FIRST].tolist(),
            }
            for layer, (row, raw) in enumerate(zip(codes, codebooks.raw, strict=True), start=1)
        ],
        "representations": {
            name: {"shape": list(vector.shape), "first": vector[:FIRST].tolist()}
            | {key: float(getattr(vector, key)()) for key in STATISTICS}
            for name, vector in pooled.items()
        },
    }


def describe_clips(report: dict[str, Any]) -> str:
    failed = [f"  {each['clip']}: {each['reason']}" for each in report["failed"]]
    blocks = [*map(_describe, report["clips"]), *([["failed", *failed]] if failed else [])]
    return "\n\n".join(map("\n".join, blocks))


def _describe(clip: dict[str, Any]) -> Iterator[str]:
    layers, frames = clip["codes"]
    yield f"{clip['clip']}: {clip['duration_s']:.3f} s at {clip['sample_rate_hz']} Hz"
    yield f"  codes {layers} x {frames} (RVQ layers x frames of {1000 / clip['frame_rate_hz']:g} ms)"
    for book in clip["codebooks"]:
        shapes = " -> ".join(" x ".join(map(str, book[key])) for key in ("codes", "code_vectors", "projections"))
        codes = " ".join(map(str, book["first"]))
        yield f"  layer {book['layer']:>2}  {shapes}, {book['distinct']} distinct codes, first {codes}"
    for name, vector in clip["representations"].items():
        numbers = "  ".join(f"{key} {vector[key]:.4f}" for key in STATISTICS)
        yield f"  {name}  {vector['shape'][0]} values  {numbers}"
        yield f"    first {' '.join(f'{value:.4f}' for value in vector['first'])}"
