"""The multimodal encoder around the audio encoder: video, audio and text to one bottleneck, and on to brain voxels."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from phonoscope.encoders.audio import AudioEncoder, InputKind


def _dense(inputs: int, outputs: int, dropout: float = 0.0) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return [*layers, nn.Dropout(dropout)] if dropout else layers


class VideoEncoder(nn.Module):
    """Frames [batch, 3, height, width] to [batch, output_features]: four convolutions of stride 2, one linear layer."""

    def __init__(self, height: int = 90, width: int = 160, output_features: int = 1024) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in pairwise((3, 32, 64, 128, 256)):
            layers += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
            height, width = (height + 1) // 2, (width + 1) // 2
        self.convolutions = nn.Sequential(*layers)
        self.compression = nn.Sequential(nn.Linear(256 * height * width, output_features), nn.Dropout(0.2), nn.ReLU())

    def forward(self, video: Tensor) -> Tensor:
        return self.compression(self.convolutions(video).flatten(1))


class TextEncoder(nn.Module):
    """Text embeddings [batch, input_features] to [batch, output_features]."""

    def __init__(self, input_features: int = 1024, output_features: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_dense(input_features, 512, 0.2), *_dense(512, output_features, 0.2))

    def forward(self, text: Tensor) -> Tensor:
        return self.layers(text)


class MultimodalEncoder(nn.Module):
    """Video, audio and text of one repetition time (TR) to a bottleneck, and on request to voxels.

    Layers and sizes are those of the giblet-responses encoder (ContextLab, commit 5ed01cc).
    `audio_options` goes to `AudioEncoder`. text_features, bottleneck: dimensions of the text embedding and of the
    bottleneck. voxels: how many to predict; None builds no voxel head (for 85,810 it has 1.44 billion parameters).
    """

    def __init__(
        self,
        *,
        video_height: int = 90,
        video_width: int = 160,
        audio: InputKind = "mel",
        audio_options: dict[str, Any] | None = None,
        text_features: int = 1024,
        bottleneck: int = 2048,
        voxels: int | None = None,
    ) -> None:
        super().__init__()
        self.video_encoder = VideoEncoder(video_height, video_width)
        self.audio_encoder = AudioEncoder(audio, **(audio_options or {}))
        self.text_encoder = TextEncoder(text_features)
        joined = 1024 + self.audio_encoder.output_features + 256
        self.feature_conv = nn.Sequential(*_dense(joined, joined, 0.2))
        self.layer5 = nn.Sequential(*_dense(joined, 4096, 0.3))
        self.layer6 = nn.Sequential(*_dense(4096, 8000, 0.3))
        self.layer7_bottleneck = nn.Sequential(nn.Linear(8000, bottleneck), nn.BatchNorm1d(bottleneck))
        self.bottleneck_to_voxels = (
            nn.Sequential(*_dense(bottleneck, 16_384, 0.3), nn.Linear(16_384, voxels)) if voxels else None
        )

    def forward(
        self, video: Tensor, audio: Tensor, text: Tensor, audio_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The bottleneck [batch, bottleneck], and voxels [batch, voxels] if the encoder was built with them.

        video: [batch, 3, height, width]. audio, audio_mask: see `AudioEncoder`. text: [batch, text_features].
        """
        parts = [self.video_encoder(video), self.audio_encoder(audio, audio_mask), self.text_encoder(text)]
        hidden = self.layer6(self.layer5(self.feature_conv(torch.cat(parts, dim=1))))
        bottleneck = self.layer7_bottleneck(hidden)
        return bottleneck, self.bottleneck_to_voxels(bottleneck) if self.bottleneck_to_voxels else None
