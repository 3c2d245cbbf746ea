"""Impossible settings of single sections are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from phonoscope.config.codecs import CodecConfig, TrainingConfig
from phonoscope.config.corpus import CorpusConfig, SplitConfig
from phonoscope.config.probes import ProbeConfig
from phonoscope.config.sae import SaeConfig
from phonoscope.config.section import Section
from phonoscope.config.sites import Site
from phonoscope.errors import ParamsError

IMPOSSIBLE: dict[type[Section], list[dict[str, Any]]] = {
    CodecConfig: [
        *({"layers": 0}, {"adapt_steps": -1}, {"adapt_steps": "some"}, {"step": 3}),
        {"checkpoint": "untrained", "adapt_steps": 10},
    ],
    TrainingConfig: [
        *({"clip_s": 0.1}, {"batch_size": 0}, {"lr": 0}, {"decay": 1.0}, {"dead_usage": 1.0}, {"log_every": 0}),
        *({"quantizer_dropout": 1.1}, {"commitment_weight": -1}, {"teacher_layer": 0}, {"warm_up": 3}),
    ],
    CorpusConfig: [
        *({"source": ""}, {"root": ""}, {"max_utterances": -1}, {"max_rejected": 1.5}, {"speakers": 3}),
        {"takes": 0, "sentences_per_speaker": 0},
    ],
    SplitConfig: [{"eval_fraction": 0}, {"eval_fraction": 0.6}, {"folds": 1}, {"fraction": 0.1}],
    ProbeConfig: [
        *({"classifier": bad} for bad in ({"C": 0}, {"max_iter": 0}, {"class_weight": "equal"}, {"tolerance": 0})),
        *({"phone": {"silence": True}}, {"alpha": -1}, {"confidence": 1}, {"layers": [0]}),
        *({"codebook_permutations": 0}, {"blocks": [0.5, 0.2, 1.0]}),
    ],
    SaeConfig: [
        *({"sites": ["encoder_3", "encoder_x"]}, {"sites": ["mlp_0"]}, {"sites": ["encoder_1", "encoder_1"]}),
        *({"k": 0}, {"epochs": 0}, {"dead_tokens": 10}),
    ],
}


@pytest.mark.parametrize(("section", "changes"), [(each, bad) for each, many in IMPOSSIBLE.items() for bad in many])
def test_an_impossible_setting_is_refused_by_name(section: type[Section], changes: dict[str, Any]) -> None:
    known = {"kind": "encodec"} if section is CodecConfig else {}
    with pytest.raises(ValidationError) as refusal:
        section.model_validate(known | changes)
    assert any(str(name) in str(refusal.value) for name in changes)


@pytest.mark.parametrize("name", ["encoder_0", "encoder_12", "decoder_4", "mlp_3", "attention_1", "encoder_all"])
def test_a_site_is_its_name(name: str) -> None:
    site = Site.parse(name)
    assert site.name == str(site) == name
    assert site.is_decoder == (name == "decoder_4")
    assert site.is_residual == (site.kind in ("encoder", "decoder"))
    assert site.form == {"mlp_3": "transcoder", "encoder_all": "crosscoder"}.get(name, "autoencoder")


@pytest.mark.parametrize("name", ["mlp_0", "attention_0", "mlp_all", "encoder_01", "encoder", "encoder_-1", ""])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ParamsError, match="no site is called"):
        Site.parse(name)
