"""Parameters of the codecs and of their training."""

from typing import Literal, Self

from pydantic import Field, model_validator

from phonoscope.config.section import Section


class CodecConfig(Section):
    """One codec of the study: its class, and the source of its weights."""

    kind: str  # model class: `encodec`, `dac` or `speechtokenizer` of the package of that name, or `transformers`
    checkpoint: str = "packaged"
    """`packaged` (the small models shipped here), a path or a Hub id, `scratch` (the small model, trained on the
    corpus), or a control that is never trained: `untrained` (the small model), `untrained:<path>` (of its size)."""
    layers: int = Field(default=8, ge=1, le=64)  # RVQ layers that are read; the packaged models have 8, dac 12
    adapt_steps: int | Literal["auto"] = "auto"  # training steps on the corpus; `auto`: 100 if packaged, 0 on espeak
    distill: bool = False  # distil a Whisper layer into RVQ layer 1 while training (arXiv:2308.16692, section 3.3)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.adapt_steps, int) and self.adapt_steps < 0:
            raise ValueError("adapt_steps must be 0 or more, or 'auto'")
        if self.untrained and self.adapt_steps not in ("auto", 0):
            raise ValueError("adapt_steps must be 0 for a codec that stays untrained")
        return self

    @property
    def untrained(self) -> bool:
        """Whether it is the control: random weights, codebooks from k-means of the latents, no gradient step."""
        return self.checkpoint.partition(":")[0] == "untrained"


class TrainingConfig(Section):
    """How a codec is trained or adapted. The defaults made the packaged models."""

    seed: int = 42  # seed of the initial weights, the clips and their order
    warmup_steps: int = Field(default=1800, ge=0)  # first steps of a model from scratch, without the quantizer
    quantizer_steps: int = Field(default=3000, ge=0)  # steps with the quantizer, after the k-means start
    batch_size: int = Field(default=6, ge=1)  # clips a step
    clip_s: float = Field(default=0.64, gt=0.1, le=30)  # length of a training clip in seconds
    lr: float = Field(default=2e-3, gt=0)  # AdamW's learning rate; it falls to a tenth by a cosine over each phase
    adapt_lr: float = Field(default=2e-4, gt=0)  # learning rate while adapting a trained model to another corpus
    grad_clip: float = Field(default=1.0, gt=0)  # largest gradient norm
    decay: float = Field(default=0.99, gt=0, lt=1)  # decay of the EMA codebooks
    dead_usage: float = Field(default=0.1, ge=0, lt=1)  # share of uniform usage below which a code is replaced
    quantizer_dropout: float = Field(default=0.5, ge=0, le=1)  # share of clips decoded from a random number of layers
    stft_weight: float = Field(default=0.05, ge=0)  # weight of the STFT loss; with much more, phase is never learnt
    waveform_weight: float = Field(default=1.0, ge=0)  # weight of the waveform error, as a share of the clip's energy
    commitment_weight: float = Field(default=0.25, ge=0)  # weight of the commitment loss
    latent_mel_weight: float = Field(default=0.5, ge=0)  # weight of the latent's log-mel; without it silence lasts long
    distill_weight: float = Field(default=1.0, ge=0)  # weight of the distillation loss, where `distill` is on
    teacher_layer: int = Field(default=3, ge=1)  # Whisper encoder block whose output teaches RVQ layer 1
    log_every: int = Field(default=50, ge=1)  # steps between two rows of the training curve
