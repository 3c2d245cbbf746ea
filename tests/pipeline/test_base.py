from __future__ import annotations

from typing import Any

import pytest

from phonoscope.config.params import Params, load_params
from phonoscope.errors import ParamsError
from phonoscope.pipeline.base import StageReport, stage, stages
from tests.config.test_params import FILE


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(FILE)


def changed(params: Params, section: str, **changes: Any) -> Params:
    return params.model_copy(update={section: getattr(params, section).model_copy(update=changes)})


def test_items_come_from_params_or_are_fixed(params: Params) -> None:
    changes = changed(params, "sae", sites=("encoder_2", "mlp_1"))
    items = {"split": [], "probe": [*params.codecs], "encoder": ["codes", "mel"], "sae": ["encoder_2", "mlp_1"]}
    assert {name: stages()[name].items(changes) for name in items} == items


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match=r"'split' is declared twice: in phonoscope\.pipeline\.split and tests\."):
        stage("split", params=[])(lambda params: StageReport())


@pytest.mark.parametrize(
    ("name", "item", "message"),
    [
        ("codec", "encodek", r"codecs\.encodek: not in codecs; did you mean 'encodec'"),
        ("encoder", "codex", r"encoder\.codex: not in encoder; did you mean 'codes'"),
        ("sae", "token_9", r"sae\.sites\.token_9: not in sae\.sites"),
    ],
)
def test_an_unknown_item_is_refused_with_the_nearest(params: Params, name: str, item: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        stages()[name].check(params, item)


@pytest.mark.parametrize(("name", "section"), [("corpus", "corpus"), ("align", "alignment")])
def test_a_missing_folder_stops_the_stage_that_reads_it(params: Params, name: str, section: str) -> None:
    gone = changed(params, section, root="/nowhere")
    with pytest.raises(ParamsError, match=rf"{section}\.root: '/nowhere' is not a folder"):
        stages()[name].check(gone)
    stages()["split"].check(gone)


def test_forced_alignment_needs_no_folder_of_textgrids(params: Params) -> None:
    stages()["align"].check(changed(params, "alignment", root="/nowhere", method="forced"))


def test_values_are_those_of_the_declared_keys(params: Params) -> None:
    assert stages()["split"].values(params) == {"split": params.split.model_dump(mode="json")}
    chosen = stages()["codec"].values(params, "dac")
    assert chosen["codecs"] == {"dac": params.codecs["dac"].model_dump(mode="json")}
    assert chosen["corpus"] == {"source": "espeak"}
    assert "workers" not in chosen["compute"]
