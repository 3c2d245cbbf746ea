"""Writes Whisper models in CTranslate2's binary form, to hold the reader to."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

Array = np.ndarray[Any, np.dtype[Any]]
ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}
CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def ct2_bytes(variables: Mapping[str, Array], aliases: Mapping[str, str] | None = None) -> bytes:
    parts = [struct.pack("<I", 6), string("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name, array in variables.items():
        parts += [string(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        parts += [struct.pack("<BI", CODES[str(array.dtype)], array.nbytes), array.tobytes()]
    parts.append(struct.pack("<I", len(aliases or {})))
    parts += [string(alias) + string(name) for alias, name in (aliases or {}).items()]
    return b"".join(parts)


def tiny_model() -> WhisperForConditionalGeneration:
    """Random weights, exactly representable in float16; encoder and decoder of different depth and width."""
    torch.manual_seed(0)
    encoder = {"encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 12}
    decoder = {"decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 20}
    sizes = {"vocab_size": 64, "num_mel_bins": 80, "max_source_positions": 1500, "max_target_positions": 16}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    barred = dict.fromkeys(("suppress_tokens", "begin_suppress_tokens"))
    config = WhisperConfig(d_model=8, **sizes, **encoder, **decoder, **tokens, **barred)
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape).mul(0.5).half().float())
    return model.eval()


def to_variables(model: WhisperForConditionalGeneration) -> dict[str, Array]:
    """The variables CTranslate2's own converter makes of a model; the key's bias, which transformers lacks, is 0."""
    state = {name: tensor.numpy().astype(np.float16) for name, tensor in model.state_dict().items()}
    out: dict[str, Array] = {}

    def linear(name: str, sources: list[str]) -> None:
        out[f"{name}/weight"] = np.concatenate([state[f"{s}.weight"] for s in sources])
        width = state[f"{sources[0]}.weight"].shape[0]
        out[f"{name}/bias"] = np.concatenate([state.get(f"{s}.bias", np.zeros(width, np.float16)) for s in sources])

    def norm(name: str, source: str) -> None:
        out[f"{name}/gamma"], out[f"{name}/beta"] = state[f"{source}.weight"], state[f"{source}.bias"]

    for side in ("encoder", "decoder"):
        out[f"{side}/num_heads"] = np.array(getattr(model.config, f"{side}_attention_heads"), np.int16)
        out[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(getattr(model.config, f"{side}_layers")):
            to, source = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            norm(f"{to}/self_attention/layer_norm", f"{source}.self_attn_layer_norm")
            linear(f"{to}/self_attention/linear_0", [f"{source}.self_attn.{x}_proj" for x in "qkv"])
            linear(f"{to}/self_attention/linear_1", [f"{source}.self_attn.out_proj"])
            if side == "decoder":
                norm(f"{to}/attention/layer_norm", f"{source}.encoder_attn_layer_norm")
                linear(f"{to}/attention/linear_0", [f"{source}.encoder_attn.q_proj"])
                linear(f"{to}/attention/linear_1", [f"{source}.encoder_attn.{x}_proj" for x in "kv"])
                linear(f"{to}/attention/linear_2", [f"{source}.encoder_attn.out_proj"])
            norm(f"{to}/ffn/layer_norm", f"{source}.final_layer_norm")
            linear(f"{to}/ffn/linear_0", [f"{source}.fc1"])
            linear(f"{to}/ffn/linear_1", [f"{source}.fc2"])
    linear("encoder/conv1", ["model.encoder.conv1"])
    linear("encoder/conv2", ["model.encoder.conv2"])
    out["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    return out
