"""params.yaml as frozen models, one section a part. The only module that reads the file."""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from phonoscope import paths
from phonoscope.config.alignment import AlignmentConfig
from phonoscope.config.causal import CausalConfig
from phonoscope.config.codecs import CodecConfig, TrainingConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.corpus import CorpusConfig, SplitConfig
from phonoscope.config.encode import EncodeConfig
from phonoscope.config.encoders import EncoderConfig
from phonoscope.config.geometry import GeometryConfig
from phonoscope.config.interpret import InterpretConfig
from phonoscope.config.maps import MapsConfig
from phonoscope.config.probes import DepthConfig, ProbeConfig
from phonoscope.config.sae import SaeConfig
from phonoscope.config.section import Section
from phonoscope.config.tracking import TrackingConfig
from phonoscope.config.vq import VqConfig
from phonoscope.config.whisper import WhisperConfig
from phonoscope.errors import ParamsError, nearest

MAX_DEPTH = 20  # levels of nested sections and lists; params.yaml needs 4


class Params(Section):
    """All parameters: one section a part."""

    corpus: CorpusConfig = CorpusConfig()  # where the speech comes from
    alignment: AlignmentConfig = AlignmentConfig()  # phones and F0
    split: SplitConfig = SplitConfig()  # train and eval
    codecs: dict[str, CodecConfig] = Field(min_length=1)  # the codecs by name; add a section to add a codec
    training: TrainingConfig = TrainingConfig()  # how codecs are trained or adapted
    encode: EncodeConfig = EncodeConfig()  # tokens and reconstructions
    probe: ProbeConfig = ProbeConfig()  # linear probes
    depth: DepthConfig = DepthConfig()  # probing in depth
    geometry: GeometryConfig = GeometryConfig()  # isolated words in codec space
    maps: MapsConfig = MapsConfig()  # frames in the plane, by t-SNE
    whisper: WhisperConfig = WhisperConfig()  # the Whisper checkpoint, and how its activations are taken
    sae: SaeConfig = SaeConfig()  # sparse autoencoders
    interpret: InterpretConfig = InterpretConfig()  # interpretation of features
    encoder: EncoderConfig = EncoderConfig()  # audio encoders
    vq: VqConfig = VqConfig()  # the ablation of vector quantization
    causal: CausalConfig = CausalConfig()  # causal tests of features
    compute: ComputeConfig = ComputeConfig()  # workers, threads and device
    tracking: TrackingConfig = TrackingConfig()  # MLflow

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name in self.codecs:
            if not name.isidentifier():
                raise ValueError(f"codecs: {name!r} is no codec name; use letters, digits and underscores")
        return self

    def at(self, key: str) -> Any:
        """The value of a dotted key."""
        value: Any = self
        for part in key.split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        return value

    def adapt_steps(self, codec: str) -> int:
        """Steps to adapt a codec to the corpus; `auto` adapts packaged models, to any speech but their own kind."""
        config = self.codecs[codec]
        if config.adapt_steps == "auto":
            return 100 if config.checkpoint == "packaged" and self.corpus.source != "espeak" else 0
        return config.adapt_steps

    def codec(self, name: str) -> CodecConfig:
        """The section of one codec. Raises `ParamsError` naming the nearest codec."""
        check_name("codecs", name, list(self.codecs))
        return self.codecs[name]


def check_name(key: str, name: str, valid: list[str]) -> None:
    """Raise `ParamsError`, naming the nearest entry of `key`, if `name` is none of its entries."""
    if name not in valid:
        raise ParamsError(f"{key}.{name}: not in {key}; {nearest(name, valid)}")


def load_params(path: Path = paths.PARAMS) -> Params:
    """Read and check params.yaml. Raises `ParamsError` with the key, the reason and the nearest valid key."""
    from ruamel.yaml.error import YAMLError

    try:
        content = _read_yaml(path.read_text(encoding="utf-8"))
        # as JSON, where a list may become a tuple
        text = json.dumps(content, default=str)
    except FileNotFoundError as error:
        raise ParamsError(f"{path}: no such file; run in the root of the checkout or give --params") from error
    except (YAMLError, OSError, ValueError, TypeError, RecursionError) as error:
        raise ParamsError(f"{path}: not readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: holds no mapping of sections")
    try:
        return Params.model_validate_json(text, strict=True)  # strictly, so that `true` is no 1 and "3" no 3
    except ValidationError as error:
        unique = dict.fromkeys(_explain(fault) for fault in error.errors())
        raise ParamsError("; ".join(f"{path}: {fault}" for fault in unique)) from error


def _read_yaml(text: str) -> Any:
    """Plain YAML 1.2.

    Raises `ValueError` for an alias, since a few nested ones expand to gigabytes, and for a nesting that would take the
    parser minutes.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent):
            raise ValueError(f"alias *{event.anchor}; write the value out")
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return YAML(typ="safe").load(text)


def _explain(fault: Any) -> str:
    """One fault of pydantic as `key: reason`, with the nearest valid key for an unknown one."""
    # a union adds the name of each alternative to the path
    location = [str(part) for part in fault["loc"] if part != "int" and not str(part).startswith("literal[")]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest(location[-1], _fields_at(location[:-1]))}"
    if fault["type"] == "missing":
        return f"{key}: missing"
    reason = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], dict):  # a rule over several keys, named in its text
        return f"{key}: {reason}" if location else reason
    return f"{key}: {reason[0].lower()}{reason[1:]}, got {fault['input']!r}"


def _fields_at(location: list[str]) -> list[str]:
    """The valid keys of one section."""
    model: Any = Params
    for part in location:
        if part not in getattr(model, "model_fields", {}):  # a name within codecs
            model = CodecConfig
            continue
        model = model.model_fields[part].annotation
    return list(getattr(model, "model_fields", {}))
