"""Parameters of the tokens and of the reconstructions."""

from pydantic import Field

from phonoscope.config.section import Section


class LatentsConfig(Section):
    """Utterances whose frame latents are kept, evenly spaced over each side of the split; 0 keeps all."""

    train: int = Field(default=240, ge=0)  # train utterances
    eval: int = Field(default=100, ge=0)  # eval utterances


class EncodeConfig(Section):
    """How the corpus becomes tokens, and on what the codecs are judged."""

    reconstructions: int = Field(default=48, ge=1)  # eval utterances decoded from every number of layers, spread evenly
    latents: LatentsConfig = LatentsConfig()  # frame latents kept, on which probes of latents are fitted and scored
