"""The audio encoder: from EnCodec codes or mel frames of a window to one vector; EnCodec's bandwidths; ONNX."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from phonoscope.files import atomic_file

InputKind = Literal["codes", "mel"]
KERNELS = (3, 5, 7)
CHANNELS = {"codes": 8, "mel": 2048}
WIDTHS = {"codes": 128, "mel": 64}  # features of one convolution branch
ENCODEC_CODEBOOKS = {1.5: 2, 3.0: 4, 6.0: 8, 12.0: 16, 24.0: 32}
"""Codebooks by bandwidth in kbps at 24 kHz: 75 frames a second of 10 bits each (Défossez et al., 2022, section 3.2)."""


class CodeEmbedding(nn.Module):
    """Codes [batch, codebooks, frames] to vectors [batch, codebooks * embed_dim, frames]: time stays time.

    `per_codebook`: each has its own part of the table. `summed` adds up the vectors of a frame, [batch, embed_dim,
    frames], as a residual quantizer does. `scramble`, a control, puts 99 % of the cells at a wrong time.
    """

    offsets: Tensor

    def __init__(
        self,
        codebooks: int,
        vocabulary: int,
        embed_dim: int,
        *,
        per_codebook: bool = False,
        scramble: bool = False,
        summed: bool = False,
    ) -> None:
        super().__init__()
        self.codebooks, self.vocabulary, self.scramble, self.summed = codebooks, vocabulary, scramble, summed
        self.channels = embed_dim if summed else codebooks * embed_dim
        self.table = nn.Embedding(vocabulary * (codebooks if per_codebook else 1), embed_dim)
        offsets = torch.arange(codebooks) * (vocabulary if per_codebook else 0)
        self.register_buffer("offsets", offsets[:, None], persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        if codes.ndim != 3 or codes.shape[1] != self.codebooks:
            raise ValueError(f"codes have shape {list(codes.shape)}; [batch, {self.codebooks}, frames] is needed")
        if not torch.compiler.is_compiling():  # an exported graph cannot raise
            check_codes(codes, self.vocabulary)
        vectors = self.table(codes.long() + self.offsets)  # [batch, codebooks, frames, embed_dim]
        if self.summed:
            return vectors.sum(dim=1).transpose(1, 2)
        # to [batch, codebooks, embed_dim, frames]: only then does flattening leave the axis of time as it is
        ordered = vectors if self.scramble else vectors.permute(0, 1, 3, 2)
        return ordered.reshape(codes.shape[0], -1, codes.shape[2])

    @torch.no_grad()
    def start_from(self, codebooks: Sequence[Tensor]) -> None:
        """Set the table to a codec's vectors, one [vocabulary, dims] per codebook, of at most `embed_dim` dims.

        Dimensions that the codec lacks start at 0. Raises `ValueError` for other shapes, or one shared table.
        """
        if len(self.table.weight) != self.vocabulary * self.codebooks or self.codebooks != len(codebooks):
            reason = f"{len(codebooks)} codebooks do not fit a table for {self.codebooks}"
            raise ValueError(f"{reason}; it must be per_codebook")
        rows, dims = self.vocabulary, self.table.embedding_dim
        for vectors, part in zip(codebooks, self.table.weight.split(rows), strict=True):
            if vectors.shape[0] != rows or vectors.shape[1] > dims:
                raise ValueError(f"a codebook has shape {list(vectors.shape)}; [{rows}, at most {dims}] is needed")
            part.zero_()
            part[:, : vectors.shape[1]] = vectors


def check_codes(codes: Tensor, vocabulary: int) -> None:
    """Raise `ValueError`, naming the value and the codebook, if a code is not an integer in [0, vocabulary).

    codes: [batch, codebooks, frames], of any type.
    """
    wrong = (codes < 0) | (codes >= vocabulary)
    if codes.is_floating_point():
        wrong |= codes != codes.floor()  # NaN too
    if wrong.any():
        codebook, value = wrong.nonzero()[0, 1].item(), codes[wrong][0].item()
        reason = f"outside [0, {vocabulary - 1}]" if value == value // 1 else "not an integer"
        raise ValueError(f"code {value} of codebook {codebook + 1} is {reason}")


class TemporalBranch(nn.Module):
    """Convolution over time, batch normalisation, ReLU, maximum over time: [batch, in, frames] -> [batch, out]."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, width, kernel, padding=kernel // 2)
        self.normalisation = nn.BatchNorm1d(width)

    def response(self, x: Tensor) -> Tensor:
        """The branch before pooling: [batch, out, frames]."""
        return self.normalisation(self.convolution(x)).relu()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` [batch, frames]: True where a frame counts; padding affects nothing, not even the batch statistics."""
        if mask is None:
            return self.response(x).amax(dim=2)
        if not self.training:
            return (self.response(x) * mask[:, None]).amax(dim=2)  # 0 is the least value of ReLU
        # batch normalisation in training takes its statistics from what it is given: the real frames alone, as rows
        frames = self.convolution(x).transpose(1, 2)
        pooled = torch.zeros_like(frames)
        pooled[mask] = self.normalisation(frames[mask]).relu()
        return pooled.amax(dim=1)


class AudioEncoder(nn.Module):
    """Windows of codes or mel frames to vectors of `output_features`.

    Embedding (codes only), three parallel temporal convolutions of width 3, 5 and 7, adaptive max pooling, and a
    compression; no weight depends on the number of frames. `channels`: codebooks, or mel bins; by default 8, or 2,048.
    vocabulary, embed_dim, per_codebook, scramble, summed: see `CodeEmbedding`.
    """

    def __init__(
        self,
        input: InputKind = "codes",  # noqa: A002 (the field's word)
        *,
        channels: int | None = None,
        output_features: int = 256,
        vocabulary: int = 1024,
        embed_dim: int = 64,
        per_codebook: bool = False,
        scramble: bool = False,
        summed: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if input not in CHANNELS:
            raise ValueError(f"input is {input!r}; there are {', '.join(CHANNELS)}")
        self.input, self.output_features = input, output_features
        self.channels = dims = channels or CHANNELS[input]
        self.embedding: CodeEmbedding | None = None
        if input == "codes":
            layout = {"per_codebook": per_codebook, "scramble": scramble, "summed": summed}
            self.embedding = CodeEmbedding(self.channels, vocabulary, embed_dim, **layout)
            dims = self.embedding.channels
        self.branches = nn.ModuleList(TemporalBranch(dims, WIDTHS[input], kernel) for kernel in KERNELS)
        self.compression = nn.Sequential(
            nn.Linear(len(KERNELS) * WIDTHS[input], output_features),
            nn.BatchNorm1d(output_features),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(output_features, output_features),
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode windows to [batch, output_features].

        x: codes [batch, codebooks, frames], integers (floats of integral value too), or mel frames
        [batch, n_mels, frames]; a mel input [batch, n_mels] is taken as one frame, with a warning.
        mask: [batch, frames], True where a frame counts; None if all do. At least one frame a window counts.
        Raises: `ValueError` for another shape, and for a code outside the vocabulary or of no integral value.
        """
        vectors = self.embedding(x) if self.embedding else self._mel(x)
        if mask is not None:
            if mask.shape != (vectors.shape[0], vectors.shape[2]):
                raise ValueError(f"the mask has shape {list(mask.shape)}; [batch, frames] is needed")
            vectors = vectors * mask[:, None]  # a convolution at the last real frame sees zeros, as at an end
        return self.compression(torch.cat([branch(vectors, mask) for branch in self.branches], dim=1))

    def _mel(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            warnings.warn("a mel input without a time axis is taken as one frame", stacklevel=3)
            x = x[:, :, None]
        if x.ndim != 3 or x.shape[1] != self.channels:
            raise ValueError(f"mel frames have shape {list(x.shape)}; [batch, {self.channels}, frames] is needed")
        return x


def to_onnx(encoder: AudioEncoder, path: Path, *, frames: int = 112) -> None:
    """Write an encoder, in eval mode, as ONNX with inputs `x` [batch, channels, frames] and `mask` [batch, frames].

    Batch and frames may have any size. Codes are int64; the graph does not check their range, see `check_codes`.
    """
    was_training, shape = encoder.training, (2, encoder.channels, frames)
    encoder.eval()
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


def encodec_codebooks(bandwidth_kbps: float, codebooks: int | None = None) -> int:
    """Number of codebooks of a bandwidth. Raises `ValueError` if EnCodec lacks it, or it has fewer than `codebooks`."""
    if bandwidth_kbps not in ENCODEC_CODEBOOKS:
        there = ", ".join(f"{kbps:g}" for kbps in ENCODEC_CODEBOOKS)
        raise ValueError(f"EnCodec has no bandwidth of {bandwidth_kbps:g} kbps; there are {there}")
    held = ENCODEC_CODEBOOKS[bandwidth_kbps]
    if codebooks is not None and codebooks > held:
        enough = [f"{kbps:g} kbps" for kbps, n in ENCODEC_CODEBOOKS.items() if n >= codebooks]
        need = (*enough, "more than EnCodec has")[0]
        raise ValueError(f"{bandwidth_kbps:g} kbps holds {held} codebooks, not {codebooks}; that takes {need}")
    return held
