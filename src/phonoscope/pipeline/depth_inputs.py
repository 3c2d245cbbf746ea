"""Latents of the sampled utterances, and the codes of the same codec with random weights."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from phonoscope import paths

if TYPE_CHECKING:
    from phonoscope.config.params import Params
    from phonoscope.pipeline.probe_inputs import PosedCodec
    from phonoscope.probes import CodecInputs

log = logging.getLogger(__name__)


def depth_inputs(params: Params, codec: str, ready: PosedCodec) -> CodecInputs:
    """Everything of a codec that section depth asks for."""
    from phonoscope.codecs.untrained import can_start, file_latents, untrained_codes
    from phonoscope.probes import CodecInputs

    frames, layers, wanted = ready.frames, len(ready.codebooks), params.depth.inputs
    rows = ready.manifest.table[ready.sample]
    files = {row.utterance: (paths.CORPUS / str(row.path)).resolve() for row in rows.itertuples()}
    latent, codes, books = None, None, []
    model = paths.codec_model(codec)
    if "latent" in wanted:
        latent = frames.vectors(file_latents(model, files, params.compute, layers=layers), ready.manifest)
    kind = params.codec(codec).kind
    if "untrained" in wanted and not can_start(kind):
        log.warning("%s: left out the untrained codec; one of kind %s cannot be started", codec, kind)
    elif "untrained" in wanted:
        settings = params.training, params.compute
        found, books = untrained_codes(model, kind, files, *settings, layers=layers, seed=params.depth.seed)
        codes = frames.rows_of(found, ready.manifest)
    return CodecInputs(frames.codes, ready.codebooks, latent, codes, books)
