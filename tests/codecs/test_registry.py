from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phonoscope.codecs.registry import check_config, codec_kind, kind_names
from phonoscope.config.codecs import CodecConfig
from phonoscope.config.params import load_params
from phonoscope.errors import ParamsError
from phonoscope.pipeline.runner import check_choices

from .tiny import ARCHITECTURES

PARAMS = Path(__file__).parents[2] / "params.yaml"


def test_every_kind_has_its_module() -> None:
    assert kind_names() == ["dac", "encodec", "speechtokenizer", "transformers"]
    assert [name for name in kind_names() if codec_kind(name).trainable] == sorted(ARCHITECTURES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "speechtokeniser"}, "kind: .*did you mean 'speechtokenizer'"),
        ({"kind": "wavenet"}, "kind: .*there are dac, encodec, speechtokenizer, transformers"),
        ({"distill": True}, "distill: needs kind speechtokenizer, not encodec"),
        ({"kind": "dac", "layers": 13}, "layers: the small dac has 12 RVQ layers, not 13"),
        *(
            ({"kind": "transformers", "checkpoint": checkpoint}, "checkpoint: kind transformers needs a checkpoint")
            for checkpoint in ("packaged", "scratch", "untrained", "untrained:folder")
        ),
        ({"kind": "transformers", "checkpoint": "a/b", "adapt_steps": 5}, "adapt_steps: .*set it to 0"),
    ],
)
def test_a_section_that_its_kind_cannot_do_is_refused_before_anything_slow(changes: dict[str, Any], said: str) -> None:
    config = CodecConfig(**{"kind": "encodec", **changes})
    with pytest.raises(ParamsError, match=said):
        check_config(config)
    params = load_params(PARAMS)
    with pytest.raises(ParamsError, match=rf"codecs\.mine\.{said}"):
        check_choices(params.model_copy(update={"codecs": {**params.codecs, "mine": config}}))
