"""Sparse autoencoders, transcoders and crosscoders: one model, told apart by what it reads, writes and keeps active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import linear

from phonoscope.config.sae import Kind
from phonoscope.errors import ParamsError
from phonoscope.sae.selection import above, batch_top_k, top_k
from phonoscope.sae.sparse import Pattern, preactivations

if TYPE_CHECKING:
    from phonoscope.config.sae import SaeConfig

Form = Literal["autoencoder", "transcoder", "crosscoder"]
MIXED_PRECISION = frozenset({"cuda"})
"""Devices on which training takes the encoder's product in bfloat16; weights and all sums stay float32."""


class SaeShape(BaseModel):
    """What a model is, apart from its weights; its config.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Form
    """`autoencoder` reconstructs its input, `transcoder` an MLP's output from its input, `crosscoder` all layers."""
    kind: Kind
    """What makes it sparse."""
    n_inputs: int = Field(ge=1)
    """Input dimensions; a crosscoder's are those of all layers, layer by layer."""
    n_outputs: int = Field(ge=1)
    """Output dimensions."""
    layers: int = Field(default=1, ge=1)
    """Layers that a crosscoder reads and writes, else 1."""
    width: int = Field(ge=1)
    """Features."""
    k: int = Field(ge=1)
    """Active features a frame (for `jumprelu` aimed at, for `relu` without meaning)."""
    groups: tuple[int, ...] = ()
    """`matryoshka`: how many of the first features reconstruct alone, ascending to `width`."""
    skip: bool = False
    """Whether a transcoder has an affine map beside its features."""


class SparseAutoencoder(nn.Module):
    """f = activation(encoder (x - input_bias) + encoder_bias); y = decoder_bias + f decoder (+ skip (x - input_bias)).

    Row j of `decoder` [width, n_outputs] is feature j's direction: of unit norm, but for a crosscoder, whose features
    count by the sum of their norms over layers (Lindsey et al. 2024, Sparse crosscoders). An autoencoder has one bias
    for both ends. `threshold` [width] is what an activation must exceed: learned by `jumprelu` (Rajamanoharan et al.
    2024, 2407.14435), estimated after training for `batchtopk` and `matryoshka` (Bussmann et al. 2025, 2503.17547),
    else 0.
    """

    input_bias: Tensor
    threshold: Tensor

    def __init__(self, config: SaeShape) -> None:
        super().__init__()
        self.config = config
        width, n_inputs, n_outputs = config.width, config.n_inputs, config.n_outputs
        self.encoder = nn.Parameter(torch.zeros(width, n_inputs))
        self.encoder_bias = nn.Parameter(torch.zeros(width))
        self.decoder = nn.Parameter(torch.zeros(width, n_outputs))
        self.decoder_bias = nn.Parameter(torch.zeros(n_outputs))
        if config.form == "transcoder":
            self.register_buffer("input_bias", torch.zeros(n_inputs))
        else:
            self.input_bias = self.decoder_bias
        if config.kind == "jumprelu":
            self.threshold = nn.Parameter(torch.zeros(width))
        else:
            self.register_buffer("threshold", torch.zeros(width))
        self.skip = nn.Parameter(torch.zeros(n_outputs, n_inputs)) if config.skip else None

    @property
    def width(self) -> int:
        """Number of features."""
        return self.config.width

    def norms(self) -> Tensor:
        """What an activation of 1 adds to the output: the sum over layers of the decoder's norms, [width]."""
        return self.decoder.unflatten(1, (self.config.layers, -1)).norm(dim=2).sum(dim=1)

    def pre(self, x: Tensor) -> Tensor:
        """Pre-activations of x [n, n_inputs]: [n, width]."""
        return linear(x, self.encoder, self.encoder_bias - self.encoder @ self.input_bias)

    def scores(self, pre: Tensor) -> Tensor:
        """Pre-activations [n, width] as they are ranked: a crosscoder's by what they add to the output."""
        return pre * self.norms() if self.config.form == "crosscoder" else pre

    def active(self, pre: Tensor) -> Pattern:
        """The entries of pre-activations [n, width] that are active in inference."""
        if self.config.kind == "topk":
            return top_k(self.scores(pre), self.config.k)
        return above(self.scores(pre), self.threshold)

    def encode(self, x: Tensor) -> Tensor:
        """Activations of x [n, n_inputs] in inference: [n, width], none negative."""
        pre = self.pre(x)
        pattern = self.active(pre)
        activations = torch.zeros_like(pre)
        activations[pattern.rows, pattern.columns] = pre[pattern.rows, pattern.columns]
        return activations

    def decode(self, activations: Tensor) -> Tensor:
        """Output of activations [n, width], without the skip connection: [n, n_outputs]."""
        return activations @ self.decoder + self.decoder_bias

    def bypass(self, x: Tensor) -> Tensor | float:
        """The skip connection's part of the output, [n, n_outputs]; 0 without one."""
        return 0.0 if self.skip is None else linear(x - self.input_bias, self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction of x [n, n_inputs] in inference: [n, n_outputs]."""
        return self.decode(self.encode(x)) + self.bypass(x)

    def select(self, x: Tensor, bandwidth: float, guess: float) -> tuple[Pattern, Tensor, Tensor, float]:
        """The entries that take part in a step on x [n, n_inputs], and their pre-activations with gradients [entries].

        Also all pre-activations [n, width] without gradients, and BatchTopK's cut (see `batch_top_k`). JumpReLU's
        entries reach half a `bandwidth` below the threshold: their derivative with respect to it does not vanish.
        """
        device = x.device.type
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device in MIXED_PRECISION):
            pre = self.pre(x).float()
            scores = self.scores(pre)
        match self.config.kind:
            case "relu":
                pattern = above(scores, 0.0)
            case "topk":
                pattern = top_k(scores, self.config.k)
            case "jumprelu":
                pattern = above(scores, self.threshold.detach().clamp(min=0) - bandwidth / 2)
            case _:
                pattern, guess = batch_top_k(scores, self.config.k, guess)
        return pattern, self.entries(pre, x, pattern), pre, guess

    def entries(self, pre: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        """A pattern's pre-activations [entries] with gradients, out of all of them, `pre` [n, width]."""
        values = pre[pattern.rows, pattern.columns]
        return preactivations(values, x, self.input_bias, self.encoder, self.encoder_bias, pattern)

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring the decoder's rows back to unit norm; a crosscoder's are free."""
        if self.config.form != "crosscoder":
            self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))

    @torch.no_grad()
    def remove_parallel_gradient(self) -> None:
        """Take the part along each unit row out of the decoder's gradient: it would only change the norm."""
        if self.config.form != "crosscoder" and self.decoder.grad is not None:
            along = (self.decoder.grad * self.decoder).sum(dim=1, keepdim=True)
            self.decoder.grad.addcmul_(self.decoder, along, value=-1)

    @torch.no_grad()
    def rescale(self, input_scale: float, output_scale: float) -> None:
        """Turn a model of x / input_scale and y / output_scale into the same model of x and y, in place."""
        gain = output_scale / input_scale
        self.encoder.mul_(gain)
        self.encoder_bias.mul_(output_scale)
        self.decoder_bias.mul_(output_scale)
        self.threshold.mul_(output_scale)
        if self.config.form == "transcoder":
            self.input_bias.mul_(input_scale)
        if self.skip is not None:
            self.skip.mul_(gain)


def build_shape(form: Form, config: SaeConfig, *, n_inputs: int, n_outputs: int, layers: int = 1) -> SaeShape:
    """The shape of a model: `expansion` features per dimension of a layer. Raises `ParamsError` if k exceeds them."""
    width = config.expansion * (n_inputs // layers)
    if config.k > width:
        raise ParamsError(f"sae.k: {config.k} active features of {width} there are; lower it, or raise sae.expansion")
    groups = [max(1, round(share * width)) for share in config.groups] if config.kind == "matryoshka" else []
    return SaeShape(
        form=form,
        kind=config.kind,
        n_inputs=n_inputs,
        n_outputs=n_outputs,
        layers=layers,
        width=width,
        k=config.k,
        groups=tuple(dict.fromkeys(groups)),
        skip=config.skip and form == "transcoder",
    )
