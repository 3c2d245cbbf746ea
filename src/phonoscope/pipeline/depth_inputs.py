"""Latents that stage `encode` kept, and the codes of the same codec with random weights."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.errors import ParamsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.pipeline.probe_inputs import PosedCodec
    from phonoscope.probes import CodecInputs

log = logging.getLogger(__name__)


def depth_inputs(params: Params, codec: str, ready: PosedCodec) -> CodecInputs:
    """Everything of a codec that section depth asks for. Raises `ParamsError` if `encode` kept too few latents."""
    from phonoscope.codecs.registry import codec_kind
    from phonoscope.codecs.start import untrained_codes
    from phonoscope.data import Latents
    from phonoscope.probes import CodecInputs

    frames, layers, wanted = ready.frames, len(ready.codebooks), params.depth.inputs
    rows = ready.manifest.table[ready.sample]
    files = {str(row.utterance): (paths.CORPUS / str(row.path)).resolve() for row in rows.itertuples()}
    latent, codes, books = None, None, list[NDArray[Any]]()
    if "latent" in wanted:
        latents = Latents.load(paths.tokens_dir(codec))
        if missing := sum(name not in latents for name in files):
            raise ParamsError(
                f"encode.latents: the latents of {missing} of {len(files)} sampled utterances were not kept; "
                "keep as many as depth.train_utterances and depth.eval_utterances"
            )
        latent = frames.vectors(latents, ready.manifest)
    kind = params.codec(codec).kind
    if "untrained" in wanted and not codec_kind(kind).trainable:
        log.warning("%s: left out the untrained codec; one of kind %s cannot be started", codec, kind)
    elif "untrained" in wanted:
        given = paths.codec_model(codec), kind, files, params.training, params.compute
        tokens, books = untrained_codes(*given, layers=layers, seed=params.depth.seed)
        codes = frames.rows_of(tokens, ready.manifest)
    return CodecInputs(frames.codes, ready.codebooks, latent, codes, books)
