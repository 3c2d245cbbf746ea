from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from phonoscope.codecs.start import initialise_from_data

from .tiny import build, voice


@pytest.mark.parametrize("kind", ["encodec", "speechtokenizer", "dac"])
@pytest.mark.parametrize("deviation", [1.0, 0.3])
def test_every_convolution_of_the_encoder_is_standardised_on_the_data(kind: str, deviation: float) -> None:
    codec = build(kind)
    rate = codec.sample_rate
    audio = torch.from_numpy(np.stack([voice(0.6, rate, seed) for seed in range(4)]))[:, None]
    with torch.no_grad():
        before = codec.latent(audio).std()
    initialise_from_data(codec.model.encoder, audio, deviation)
    seen: list[torch.Tensor] = []
    layers: list[Any] = [module for module in codec.model.encoder.modules() if hasattr(module, "weight_g")]
    assert not any(layer._forward_hooks for layer in layers)
    handles = [layer.register_forward_hook(lambda _, __, output: seen.append(output)) for layer in layers]
    with torch.no_grad():
        latent = codec.latent(audio)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(layers) > 8
    for output in seen:
        torch.testing.assert_close(output.mean(dim=(0, 2)), torch.zeros(output.shape[1]), atol=2e-3, rtol=0)
        torch.testing.assert_close(output.std(dim=(0, 2)), torch.full((output.shape[1],), deviation), atol=2e-3, rtol=0)
    assert float(latent.std()) == pytest.approx(deviation, rel=0.01) != pytest.approx(float(before), rel=0.01)
