"""Export of an encoder to ONNX."""

from __future__ import annotations

from pathlib import Path

import torch

from phonoscope.encoders.audio import AudioEncoder
from phonoscope.files import atomic_file


def to_onnx(encoder: AudioEncoder, path: Path, *, frames: int = 112) -> None:
    """Write an encoder, in eval mode, as ONNX with inputs `x` [batch, channels, frames] and `mask` [batch, frames].

    Batch and frames may have any size. Codes are int64; the graph does not check their range, see `check_codes`.
    """
    was_training = encoder.training
    encoder.eval()
    shape = (2, encoder.channels, frames)
    x = torch.zeros(shape, dtype=torch.long) if encoder.input == "codes" else torch.randn(shape)
    batch, time = torch.export.Dim("batch"), torch.export.Dim("frames")
    with atomic_file(path) as temporary:
        torch.onnx.export(
            encoder,
            (x, torch.ones(2, frames, dtype=torch.bool)),
            str(temporary),
            input_names=["x", "mask"],
            output_names=["features"],
            dynamic_shapes=({0: batch, 2: time}, {0: batch, 1: time}),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    encoder.train(was_training)
