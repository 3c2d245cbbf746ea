from __future__ import annotations

import pytest
from encodec import EncodecModel

from phonoscope.encoders import ENCODEC_CODEBOOKS, encodec_codebooks


def test_a_bandwidth_is_75_frames_a_second_of_10_bits_a_codebook_as_in_the_package() -> None:
    model = EncodecModel.encodec_model_24khz(pretrained=False)
    for kbps, codebooks in ENCODEC_CODEBOOKS.items():
        assert kbps * 1000 == 75 * 10 * codebooks
        assert encodec_codebooks(kbps) == encodec_codebooks(kbps, codebooks) == codebooks
        assert model.quantizer.get_num_quantizers_for_bandwidth(model.frame_rate, kbps) == codebooks


def test_codebooks_that_a_bandwidth_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 kbps holds 4 codebooks, not 8; that takes 6 kbps"):
        encodec_codebooks(3.0, 8)
    with pytest.raises(ValueError, match=r"24 kbps holds 32 codebooks, not 33; that takes more than EnCodec has"):
        encodec_codebooks(24.0, 33)
    with pytest.raises(ValueError, match=r"no bandwidth of 5 kbps; there are 1.5, 3, 6, 12, 24"):
        encodec_codebooks(5.0)
