"""What stage `depth` reads of a codec, and the codes of the same codec with random weights."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.errors import ParamsError
from phonoscope.pipeline.base import named_parameters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.probes import CodecInputs
    from phonoscope.probes.pose import Posed

log = logging.getLogger(__name__)


def depth_inputs(params: Params, codec: str) -> tuple[list[Posed], NDArray[np.bool_], CodecInputs]:
    """Posed tasks, utterances to probe [utterances] and inputs. Raises `ParamsError` if too few latents were kept."""
    from phonoscope.codecs.registry import codec_kind
    from phonoscope.codecs.start import untrained_codes
    from phonoscope.data import Codebooks, Labels, Latents, Manifest, Split, Tokens
    from phonoscope.probes import CodecInputs, pose, read_frames
    from phonoscope.probes.pose import sample_utterances
    from phonoscope.probes.tasks import configured_tasks

    config, kind = params.depth, params.codec(codec).kind
    with named_parameters("depth"):
        tasks = configured_tasks(config)
    manifest, split = Manifest.load(paths.MANIFEST), Split.load(paths.SPLIT)
    books, labels = Codebooks.load(paths.codebooks(codec)), Labels.load(paths.ALIGNMENTS)
    frames = read_frames(Tokens.load(paths.tokens(codec)), labels, manifest, tasks)
    posed, sample = pose(frames, manifest, split, config), sample_utterances(manifest, split, config)
    codebooks = books.vectors if config.vectors == "sum" else books.raw
    rows = manifest.table[sample]
    files = {str(row.utterance): (paths.CORPUS / str(row.path)).resolve() for row in rows.itertuples()}
    latent, codes = None, None
    untrained: list[NDArray[Any]] = []
    if "latent" in config.inputs:
        latents = Latents.load(paths.tokens_dir(codec))
        if missing := sum(name not in latents for name in files):
            raise ParamsError(
                f"encode.latents: the latents of {missing} of {len(files)} sampled utterances were not kept; "
                "keep as many as depth.train_utterances and depth.eval_utterances"
            )
        latent = frames.vectors(latents, manifest)
    if "untrained" in config.inputs and not codec_kind(kind).trainable:
        log.warning("%s: left out the untrained codec; one of kind %s cannot be started", codec, kind)
    elif "untrained" in config.inputs:
        given = paths.codec_model(codec), kind, files, params.training, params.compute
        tokens, untrained = untrained_codes(*given, layers=len(codebooks), seed=config.seed)
        codes = frames.rows_of(tokens, manifest)
    return posed, sample, CodecInputs(frames.codes, codebooks, latent, codes, untrained)
