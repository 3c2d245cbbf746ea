"""Whisper with changed activations: scores of a transcript, transcripts, and the faithfulness of a reconstruction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.sites import Site
from phonoscope.config.whisper import Normalize
from phonoscope.errors import DataError, NotApplicable
from phonoscope.whisper.model import FRAME_SAMPLES, Encoded, Whisper, embed, run_blocks, transcripts
from phonoscope.whisper.sites import Normaliser, Point, capture, inputs, outputs, patched, site_layers, substitute
from phonoscope.whisper.transcript import TextTokens, log_probabilities, prompt, tokenize, word_error_rate
from phonoscope.whisper.utterances import batches, plan_windows, speech_mask, window_audio

if TYPE_CHECKING:
    import torch

    from phonoscope.whisper.sites import Patch

BATCH_S = 120.0  # seconds of windows that are encoded at once; bounds memory
MORE_TOKENS = 10  # than the longest reference has; a longer transcript is a loop, and is cut off

Reconstruct = Callable[["torch.Tensor"], "torch.Tensor"]
"""[frames, inputs] to [frames, outputs], in the units of the site's features."""
VARIANTS = ("clean", "sae", "zero")


class Speech(NamedTuple):
    """Utterances alone in windows of one length, encoded once; patched runs start from here."""

    whisper: Whisper
    numbers: list[int]  # indices of the given utterances
    tokens: list[TextTokens]
    streams: list[torch.Tensor]
    """Residual stream [utterances, positions, width] before the first block, and after each block."""
    mask: torch.Tensor  # positions that carry speech, [utterances, positions]


class Outcome(NamedTuple):
    """Log-probabilities [tokens + 1] of each reference's tokens and end, in nats, and transcripts if asked for."""

    log_probs: list[torch.Tensor]
    texts: list[str]


def speech_batches(
    whisper: Whisper, samples_16k: Sequence[NDArray[np.float32]], texts: Sequence[str], *, context_s: float
) -> Iterator[Speech]:
    """Encode utterances, each alone in its window. One longer than 30 s is left out: its transcript cannot be cut."""
    windows = plan_windows([len(samples) for samples in samples_16k], [""] * len(texts), context_s=context_s)
    for batch in batches([window for window in windows if window.pieces[0].whole], BATCH_S):
        numbers = [window.pieces[0].utterance for window in batch]
        audio = [window_audio(window, lambda number: samples_16k[number]) for window in batch]
        streams = [embed(whisper, audio, batch[0].positions * FRAME_SAMPLES)]
        for block in range(whisper.model.config.encoder_layers):
            streams.append(run_blocks(whisper, streams[-1], block, block + 1))
        tokens = [tokenize(whisper, texts[number]) for number in numbers]
        yield Speech(whisper, numbers, tokens, streams, speech_mask(batch).to(whisper.device))


def activations(speech: Speech, site: Site, points: Sequence[Point]) -> list[torch.Tensor]:
    """The activations [utterances, positions, width] at points of an encoder site."""
    if site.is_residual:
        return [speech.streams[layer] for layer in site_layers(speech.whisper, site)]
    first = first_block(site)
    with capture(points) as taken:
        run_blocks(speech.whisper, speech.streams[first], first, first + 1)
    return [taken[point] for point in points]


def first_block(site: Site) -> int:
    """The block after which the encoder must start again for a change at this site to take effect."""
    return 0 if site.is_decoder or site.layer is None else max(0, site.layer - 1)


def run_patched(
    speech: Speech, patches: Mapping[Point, Patch], first: int | None = None, *, transcribe: bool = True
) -> Outcome:
    """Score and transcribe with the patches in place; the encoder starts again after block `first` (default last).

    Without `transcribe` there are no texts, at about a third of the time.
    """
    whisper, blocks = speech.whisper, speech.whisper.model.model.encoder.layers
    first = len(blocks) if first is None else first
    stream = speech.streams[first]
    if first < len(blocks) and list(patches) == [Point(blocks[first], "output")]:
        # a block whose whole output is replaced need not run
        (patch,) = patches.values()
        stream, first, patches = patch(speech.streams[first + 1]), first + 1, {}
    longest = max(len(tokens.ids) for tokens in speech.tokens)
    with patched(patches):
        encoded = Encoded(whisper, run_blocks(whisper, stream, first))
        log_probs = log_probabilities(whisper, encoded, [tokens.ids for tokens in speech.tokens])
        most = len(prompt(whisper)) + longest + MORE_TOKENS
        texts = transcripts(whisper, encoded, max_tokens=most) if transcribe else []
    # in float64, since effects are small differences of sums of these
    return Outcome([row.double().cpu() for row in log_probs], texts)


def site_rows(speech: Speech, site: Site, normalize: Normalize) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An encoder site's normalised activations on speech frames, as a dictionary takes them: [frames, inputs], several
    layers concatenated; and the mean and the deviation that normalising took out, [frames, points].
    """
    import torch

    normaliser = Normaliser(speech.whisper, site, normalize)
    taken = activations(speech, site, inputs(speech.whisper, site))
    values, mean, deviation = zip(*(normaliser.apply(states[speech.mask]) for states in taken), strict=True)
    return torch.cat(values, dim=1), torch.stack(mean, dim=1), torch.stack(deviation, dim=1)


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

    At a decoder site every position is replaced, also during the transcription. `texts` are the transcripts of the
    utterances [samples], as Whisper would write them.
    Returns: `ce_clean`, `ce_sae`, `ce_zero`: mean cross-entropy a token, the end included, in nats; `wer_clean`,
        `wer_sae`, `wer_zero`; `ce_recovered`, "loss recovered": (zero - sae) / (zero - clean), 0 if zeros do no harm.
    Raises: `NotApplicable` if no utterance has a transcript, `ParamsError` for a site that the model does not have.
    """
    import torch

    site_layers(whisper, site)
    kept = [index for index, text in enumerate(texts) if any(map(str.isalnum, text))]
    if not kept:
        raise NotApplicable("no utterance has a transcript, so faithfulness cannot be measured; give transcripts")
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
