from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from phonoscope.encoders import AudioEncoder, to_onnx


@pytest.mark.parametrize("kind", ["codes", "mel"])
def test_the_exported_encoder_computes_the_same_at_any_batch_and_length(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(kind, channels=4).train()
    for _ in range(3):  # batch statistics that are not those of the start
        encoder(torch.randint(0, 1024, (8, 4, 30)) if kind == "codes" else torch.randn(8, 4, 30) * 3 + 1)
    to_onnx(encoder, tmp_path / "encoder.onnx")
    assert encoder.training
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    encoder.eval()
    for batch, frames in ((1, 112), (5, 40), (3, 150)):
        x = torch.randint(0, 1024, (batch, 4, frames)) if kind == "codes" else torch.randn(batch, 4, frames)
        mask = torch.arange(frames) < torch.randint(1, frames + 1, (batch, 1))
        (result,) = session.run(None, {"x": x.numpy(), "mask": mask.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(result, encoder(x, mask).numpy(), atol=1e-4, rtol=1e-3)
