from __future__ import annotations

import pytest

from phonoscope.config.sites import Site
from phonoscope.errors import ParamsError


@pytest.mark.parametrize("name", ["encoder_0", "encoder_12", "decoder_4", "mlp_3", "attention_1", "encoder_all"])
def test_a_site_is_its_name(name: str) -> None:
    site = Site.parse(name)
    assert site.name == str(site) == name
    assert site.is_decoder == (name == "decoder_4")
    assert site.is_residual == (site.kind in ("encoder", "decoder"))
    assert site.form == {"mlp_3": "transcoder", "encoder_all": "crosscoder"}.get(name, "autoencoder")


@pytest.mark.parametrize("name", ["mlp_0", "attention_0", "mlp_all", "encoder_01", "encoder", "encoder_-1", ""])
def test_what_is_no_site_is_refused(name: str) -> None:
    with pytest.raises(ParamsError, match="no site is called"):
        Site.parse(name)
