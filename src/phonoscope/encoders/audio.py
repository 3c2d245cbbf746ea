"""The audio encoder: from EnCodec codes or mel frames of a window to one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

InputKind = Literal["codes", "mel"]
KERNELS = (3, 5, 7)
CHANNELS = {"codes": 8, "mel": 2048}
WIDTHS = {"codes": 128, "mel": 64}
"""Features of one convolution branch."""


class CodeEmbedding(nn.Module):
    """Codes [batch, codebooks, frames] to vectors [batch, codebooks * embed_dim, frames]: time stays time.

    One table for all codebooks, or with `per_codebook` one part of the table for each. `summed` adds up the vectors of
    a frame, [batch, embed_dim, frames], as a residual quantizer does.
    `scramble` is a control, not for use: it flattens without the permutation, so that one step of the time axis mixes
    vectors of many frames (99 % of the cells are at a wrong time).
    """

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
        self.offsets: Tensor
        self.codebooks, self.vocabulary, self.scramble, self.summed = codebooks, vocabulary, scramble, summed
        self.channels = embed_dim if summed else codebooks * embed_dim
        self.table = nn.Embedding(vocabulary * (codebooks if per_codebook else 1), embed_dim)
        offsets = torch.arange(codebooks) * vocabulary if per_codebook else torch.zeros(codebooks, dtype=torch.long)
        self.register_buffer("offsets", offsets[:, None], persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        if codes.ndim != 3 or codes.shape[1] != self.codebooks:
            raise ValueError(f"codes have shape {list(codes.shape)}; [batch, {self.codebooks}, frames] is needed")
        if not torch.compiler.is_compiling():  # an exported graph cannot raise
            check_codes(codes, self.vocabulary)
        vectors = self.table(codes.long() + self.offsets)  # [batch, codebooks, frames, embed_dim]
        if self.summed:
            return vectors.sum(dim=1).transpose(1, 2)
        if self.scramble:
            return vectors.reshape(codes.shape[0], -1, codes.shape[2])
        return vectors.permute(0, 1, 3, 2).reshape(codes.shape[0], -1, codes.shape[2])

    @torch.no_grad()
    def start_from(self, codebooks: Sequence[Tensor]) -> None:
        """Set the table to a codec's vectors, one [vocabulary, dims] per codebook, of at most `embed_dim` dims.

        Dimensions that the codec lacks start at 0. Raises `ValueError` for other shapes, or one shared table.
        """
        if len(self.table.weight) != self.vocabulary * self.codebooks or self.codebooks != len(codebooks):
            raise ValueError(
                f"{len(codebooks)} codebooks do not fit a table for {self.codebooks}; it must be per_codebook"
            )
        dims = self.table.embedding_dim
        for vectors, part in zip(codebooks, self.table.weight.split(self.vocabulary), strict=True):
            if vectors.shape[0] != self.vocabulary or vectors.shape[1] > dims:
                raise ValueError(
                    f"a codebook has shape {list(vectors.shape)}; [{self.vocabulary}, at most {dims}] is needed"
                )
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
        _, codebook, _ = wrong.nonzero()[0].tolist()
        value = codes[wrong][0].item()
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
        normalised: Tensor = self.normalisation(self.convolution(x))
        return normalised.relu()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` [batch, frames]: True where a frame counts; padding affects nothing, not even the batch statistics."""
        if mask is None:
            return self.response(x).amax(dim=2)
        if not self.training:
            return (self.response(x) * mask[:, None]).amax(dim=2)  # 0 is the least value of ReLU
        frames = self.convolution(x).transpose(1, 2)
        pooled = torch.zeros_like(frames)
        pooled[mask] = self.normalisation(frames[mask]).relu()
        return pooled.amax(dim=1)


class AudioEncoder(nn.Module):
    """Windows of codes or mel frames to vectors of `output_features`.

    Embedding (codes only), three parallel temporal convolutions of width 3, 5 and 7, adaptive max pooling, and a
    compression. By default 1,214,592 parameters for codes (8 codebooks of 1,024, 64 dimensions) and 2,082,368 for mel
    (2,048 bins). No weight depends on the number of frames.

    Args:
        input: `codes`, or `mel`.
        channels: codebooks, or mel bins; by default 8, or 2,048.
        vocabulary, embed_dim, per_codebook, scramble, summed: of the embedding, see `CodeEmbedding`.
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
        self.channels = channels or CHANNELS[input]
        self.embedding = (
            CodeEmbedding(
                self.channels, vocabulary, embed_dim, per_codebook=per_codebook, scramble=scramble, summed=summed
            )
            if input == "codes"
            else None
        )
        dims = self.embedding.channels if self.embedding else self.channels
        self.branches = nn.ModuleList(TemporalBranch(dims, WIDTHS[input], kernel) for kernel in KERNELS)
        self.compression = nn.Sequential(
            nn.Linear(len(KERNELS) * WIDTHS[input], output_features),
            nn.BatchNorm1d(output_features),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(output_features, output_features),
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode windows.

        Args:
            x: codes [batch, codebooks, frames], integers (floats of integral value too), or mel frames
                [batch, n_mels, frames]; a mel input [batch, n_mels] is taken as one frame, with a warning.
            mask: [batch, frames], True where a frame counts; None if all do. At least one frame a window counts.
        Returns: [batch, output_features].
        Raises: `ValueError` for another shape, and for a code outside the vocabulary or of no integral value.
        """
        vectors = self.embedding(x) if self.embedding else self._mel(x)
        if mask is not None:
            if mask.shape != (vectors.shape[0], vectors.shape[2]):
                raise ValueError(f"the mask has shape {list(mask.shape)}; [batch, frames] is needed")
            vectors = vectors * mask[:, None]
        return self.compression(torch.cat([branch(vectors, mask) for branch in self.branches], dim=1))

    def _mel(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            import warnings

            warnings.warn("a mel input without a time axis is taken as one frame", stacklevel=3)
            x = x[:, :, None]
        if x.ndim != 3 or x.shape[1] != self.channels:
            raise ValueError(f"mel frames have shape {list(x.shape)}; [batch, {self.channels}, frames] is needed")
        return x
