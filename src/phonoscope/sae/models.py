"""Sparse autoencoders, transcoders and crosscoders: one model for every form and kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from phonoscope.config.sae import SaeConfig
from phonoscope.config.section import Section
from phonoscope.config.sites import Form
from phonoscope.errors import ParamsError
from phonoscope.sae.kinds import build_kind
from phonoscope.sae.sparse import Pattern, Preactivations, threshold_at

MIXED_PRECISION = frozenset({"cuda"})  # where training takes the encoder's product, and nothing else, in bfloat16


class SaeShape(Section):
    """A model without its weights."""

    form: Form = "autoencoder"  # a `transcoder` writes an MLP's output from its input, a `crosscoder` all layers
    kind: str  # kind of sparsity, see `phonoscope.sae.kinds`
    options: dict[str, Any] = Field(default_factory=dict)
    d_in: int = Field(ge=1)  # input dimensions; a crosscoder's are those of all layers, layer by layer
    d_out: int = Field(ge=1)
    layers: int = Field(default=1, ge=1)  # layers that a crosscoder reads and writes, else 1
    d_sae: int = Field(ge=1)
    k: int = Field(ge=1)  # active features a frame (`jumprelu`: target; `relu`: not used)
    skip: bool = False  # whether a transcoder has an affine map beside its features


class SparseAutoencoder(nn.Module):
    """f = activation(W_enc^T (x - b_in) + b_enc); y = f W_dec + b_dec (+ W_skip (x - b_in)).

    Row j of `W_dec` [d_sae, d_out] is feature j's direction: of unit norm, except in a crosscoder, whose features are
    weighed by the sum of their norms over layers (Lindsey et al. 2024, Sparse crosscoders). b_in is b_dec in an
    autoencoder and a crosscoder, and a constant of its own in a transcoder. `threshold` [d_sae] is the value that an
    activation must exceed in inference; 0 where the kind has none.
    """

    threshold: Tensor

    def __init__(self, shape: SaeShape) -> None:
        super().__init__()
        self.shape, self.kind = shape, build_kind(shape.kind, shape.options)
        d_sae, d_in, d_out = shape.d_sae, shape.d_in, shape.d_out
        # `W_enc` transposed: one row a feature, as the sparse gradients need it
        self.encoder = nn.Parameter(torch.zeros(d_sae, d_in))
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.W_dec = nn.Parameter(torch.zeros(d_sae, d_out))
        self.b_dec = nn.Parameter(torch.zeros(d_out))
        if shape.form == "transcoder":
            self.register_buffer("b_in", torch.zeros(d_in))
        if self.kind.learns_threshold:
            self.threshold = nn.Parameter(torch.zeros(d_sae))
        else:
            self.register_buffer("threshold", torch.zeros(d_sae))
        self.W_skip = nn.Parameter(torch.zeros(d_out, d_in)) if shape.skip else None

    @property
    def W_enc(self) -> Tensor:  # the field's name
        """Encoder weights, [d_in, d_sae]."""
        return self.encoder.T

    @property
    def input_bias(self) -> Tensor:
        """b_in, [d_in]."""
        return self.b_in if self.shape.form == "transcoder" else self.b_dec  # type: ignore[return-value]

    def norms(self) -> Tensor:
        """Effect of an activation of 1 on the output: the sum over layers of the decoder's norms, [d_sae]."""
        return self.W_dec.unflatten(1, (self.shape.layers, -1)).norm(dim=2).sum(dim=1)

    def pre(self, x: Tensor) -> Tensor:
        """Pre-activations of x [n, d_in]: [n, d_sae]."""
        # the bias is folded into b_enc: x - b_in would be a copy of the batch
        return linear(x, self.encoder, self.b_enc - self.encoder @ self.input_bias)

    def scores(self, pre: Tensor) -> Tensor:
        """Ranks of pre-activations [n, d_sae]: themselves; in a crosscoder their effect on the output."""
        return pre * self.norms() if self.shape.form == "crosscoder" else pre

    def sparse(self, x: Tensor) -> tuple[Pattern, Tensor]:
        """Active entries of x [n, d_in] in inference, and their activations [entries]."""
        pre = self.pre(x)
        pattern = self.kind.active(self, self.scores(pre))
        return pattern, pre[pattern.rows, pattern.columns]

    def encode(self, x: Tensor | NDArray[np.floating]) -> Tensor:
        """Activations of x [n, d_in] in inference, a tensor or array of any float type: [n, d_sae], none negative."""
        x = (x if isinstance(x, Tensor) else torch.tensor(x)).to(self.W_dec)
        pattern, values = self.sparse(x)
        activations = x.new_zeros(pattern.n, pattern.width)
        activations[pattern.rows, pattern.columns] = values
        return activations

    def decode(self, activations: Tensor) -> Tensor:
        """Output of activations [n, d_sae], without the skip connection: [n, d_out]."""
        return activations @ self.W_dec + self.b_dec

    def bypass(self, x: Tensor) -> Tensor | float:
        """Part of the skip connection in the output, [n, d_out]; 0 without one."""
        return 0.0 if self.W_skip is None else linear(x - self.input_bias, self.W_skip)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction of x [n, d_in] in inference: [n, d_out]."""
        return self.decode(self.encode(x)) + self.bypass(x)

    def select(self, x: Tensor) -> tuple[Pattern, Tensor, Tensor]:
        """Entries that take part in a training step on x [n, d_in].

        Returns: the entries, their pre-activations with gradients [entries], all pre-activations without [n, d_sae].
        """
        device = x.device.type
        # no graph for the dense product, whose gradient would be dense too; `entries` has that of the few that are used
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device in MIXED_PRECISION):
            pre = self.pre(x).float()
            scores = self.scores(pre)
        pattern = self.kind.select(self, scores)
        return pattern, self.entries(pre, x, pattern), pre

    def entries(self, pre: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        """A pattern's pre-activations [entries] with gradients, out of all of them, `pre` [n, d_sae]."""
        values = pre[pattern.rows, pattern.columns]
        return Preactivations.apply(values, x, self.input_bias, self.encoder, self.b_enc, pattern)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Set all thresholds to the value at which inputs [n, d_in] have `k` active features a frame on average."""
        scores = (self.scores(self.pre(x)) for x in batches)
        self.threshold.fill_(threshold_at(scores, self.shape.k))

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring the decoder's rows back to unit norm; a crosscoder's are free."""
        if self.shape.form != "crosscoder":
            self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True))

    @torch.no_grad()
    def remove_parallel_gradient(self) -> None:
        """Take the part along each unit row out of the decoder's gradient: it would only change the norm."""
        if self.shape.form != "crosscoder" and self.W_dec.grad is not None:
            along = (self.W_dec.grad * self.W_dec).sum(dim=1, keepdim=True)
            self.W_dec.grad.addcmul_(self.W_dec, along, value=-1)

    @torch.no_grad()
    def rescale(self, input_scale: float, output_scale: float) -> None:
        """Turn a model of x / input_scale and y / output_scale into the same model of x and y, in place."""
        # activations take the output's scale, since the decoder's rows keep their unit norm
        gain = output_scale / input_scale
        self.encoder.mul_(gain)
        for tensor in (self.b_enc, self.b_dec, self.threshold):
            tensor.mul_(output_scale)
        if self.shape.form == "transcoder":
            self.input_bias.mul_(input_scale)
        if self.W_skip is not None:
            self.W_skip.mul_(gain)


def build_shape(form: Form, config: SaeConfig, *, d_in: int, d_out: int, layers: int = 1) -> SaeShape:
    """Shape of a model: `expansion` features per dimension of a layer. Raises `ParamsError` if k exceeds them."""
    d_sae = config.expansion * (d_in // layers)
    if config.k > d_sae:
        raise ParamsError(f"k is {config.k}, but there are {d_sae} features; lower k or raise the expansion")
    widths: dict[str, Any] = {"d_in": d_in, "d_out": d_out, "d_sae": d_sae, "layers": layers}
    kept = config.model_dump(include={"kind", "options", "k"})
    return SaeShape(form=form, skip=config.skip and form == "transcoder", **widths, **kept)
