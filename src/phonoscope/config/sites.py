"""Sites: the places in Whisper whose activations are read and changed."""

import re
from dataclasses import dataclass
from typing import Any, Literal, Self

from phonoscope.errors import ParamsError

Kind = Literal["encoder", "decoder", "mlp", "attention"]
Form = Literal["autoencoder", "transcoder", "crosscoder"]
STACK = "encoder_all"
GRAMMAR = f"encoder_<n>, decoder_<n>, mlp_<n>, attention_<n>, {STACK}"
_NAME = re.compile(r"(encoder|decoder)_(0|[1-9]\d*)|(mlp|attention)_([1-9]\d*)")


@dataclass(frozen=True)
class Site:
    """A place in Whisper.

    `encoder_<n>` and `decoder_<n>`: residual stream after block n (0: the embeddings). `mlp_<n>`, `attention_<n>`:
    output of this part of encoder block n. `encoder_all`: residual stream after every encoder block.
    """

    kind: Kind
    layer: int | None  # block, from 1; None for `encoder_all`

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a site's name. Raises `ParamsError` if it is none."""
        if name == STACK:
            return cls("encoder", None)
        match = _NAME.fullmatch(name)
        if not match:
            raise ParamsError(f"no site is called {name!r}; sites are {GRAMMAR}")
        kind: Any = match[1] or match[3]
        return cls(kind, int(match[2] or match[4]))

    @property
    def name(self) -> str:
        return STACK if self.layer is None else f"{self.kind}_{self.layer}"

    def __str__(self) -> str:
        return self.name

    @property
    def is_decoder(self) -> bool:
        """Whether the positions are tokens, not frames."""
        return self.kind == "decoder"

    @property
    def is_residual(self) -> bool:
        """Whether the site is the residual stream."""
        return self.kind in ("encoder", "decoder")

    @property
    def form(self) -> Form:
        """Model that is trained at the site: MLPs have a transcoder, all layers together a crosscoder."""
        if self.kind == "mlp":
            return "transcoder"
        return "crosscoder" if self.layer is None else "autoencoder"
