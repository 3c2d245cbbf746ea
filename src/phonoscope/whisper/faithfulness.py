"""Faithfulness of a reconstruction: Whisper's cross-entropy and word error rate with it in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from phonoscope.config.sites import Site
from phonoscope.errors import DataError
from phonoscope.whisper.model import Whisper
from phonoscope.whisper.patching import Speech, first_block, run_patched, site_rows, speech_batches
from phonoscope.whisper.sites import Normaliser, Patch, Point, outputs, site_layers, substitute
from phonoscope.whisper.transcript import word_error_rate

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from phonoscope.config.whisper import Normalize

Reconstruct = Callable[["torch.Tensor"], "torch.Tensor"]
"""[frames, inputs] to [frames, outputs], in the units of the site's features."""
VARIANTS = ("clean", "sae", "zero")


def faithfulness(
    whisper: Whisper,
    site: Site,
    samples_16k: Sequence[NDArray[np.float32]],
    texts: Sequence[str],
    reconstruct: Reconstruct,
    *,
    normalize: Normalize,
    context_s: float,
) -> dict[str, float]:
    """Scores of Whisper unchanged, with a site's speech frames replaced by their reconstruction, and by zeros.

    At a decoder site every position is replaced, also during the transcription.

    Args:
        samples_16k: utterances of shape [samples]; `texts` are their transcripts, as Whisper would write them.
    Returns: `ce_clean`, `ce_sae`, `ce_zero`: mean cross-entropy a token, the end included, in nats; `wer_clean`,
        `wer_sae`, `wer_zero`; `ce_recovered`, "loss recovered": (zero - sae) / (zero - clean), 0 if zeros do no harm.
    Raises: `DataError` if no utterance has a transcript, `ParamsError` for a site that the model does not have.
    """
    import torch

    site_layers(whisper, site)
    kept = [index for index, text in enumerate(texts) if any(map(str.isalnum, text))]
    if not kept:
        raise DataError("no utterance has a transcript, so faithfulness cannot be measured; give transcripts")
    audio, references = [samples_16k[index] for index in kept], [texts[index] for index in kept]
    loss, tokens = dict.fromkeys(VARIANTS, 0.0), 0
    hypotheses: dict[str, list[str]] = {variant: [] for variant in VARIANTS}
    truth: list[str] = []
    with torch.inference_mode():
        for speech in speech_batches(whisper, audio, references, context_s=context_s):
            for variant, patches in _variants(speech, site, reconstruct, normalize).items():
                outcome = run_patched(speech, patches, first_block(site))
                loss[variant] -= sum(float(row.sum()) for row in outcome.log_probs)
                hypotheses[variant] += outcome.texts
            tokens += sum(len(transcript.ids) + 1 for transcript in speech.tokens)
            truth += [references[number] for number in speech.numbers]
    if not truth:
        raise DataError("every utterance is longer than Whisper's 30 s, so faithfulness cannot be measured")
    scores = {f"ce_{variant}": loss[variant] / tokens for variant in VARIANTS}
    scores |= {f"wer_{variant}": word_error_rate(truth, hypotheses[variant]) for variant in VARIANTS}
    harm = scores["ce_zero"] - scores["ce_clean"]
    return scores | {"ce_recovered": (scores["ce_zero"] - scores["ce_sae"]) / harm if harm > 0 else 0.0}


def _variants(
    speech: Speech, site: Site, reconstruct: Reconstruct, normalize: Normalize
) -> dict[str, Mapping[Point, Patch]]:
    """The patches of every variant."""
    import torch

    points, normaliser = outputs(speech.whisper, site), Normaliser(speech.whisper, site, normalize)

    def rebuild(states: torch.Tensor) -> torch.Tensor:
        values, mean, deviation = normaliser.apply(states)
        rebuilt = reconstruct(values.reshape(-1, values.shape[-1])).reshape(states.shape)
        return normaliser.undo(rebuilt, mean, deviation)

    if site.is_decoder:
        # the states depend on the tokens so far, so they are rebuilt as they come, at every step of the transcription
        return {"clean": {}, "sae": {points[0]: rebuild}, "zero": {points[0]: torch.zeros_like}}
    values, mean, deviation = site_rows(speech, site, normalize)
    whole = reconstruct(values).chunk(len(points), dim=1)
    raw = [normaliser.undo(part, mean[:, index], deviation[:, index]) for index, part in enumerate(whole)]
    zero = substitute(torch.zeros_like(raw[0]), speech.mask)
    return {
        "clean": {},
        "sae": {point: substitute(part, speech.mask) for point, part in zip(points, raw, strict=True)},
        "zero": dict.fromkeys(points, zero),
    }
