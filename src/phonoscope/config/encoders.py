"""Parameters of the audio encoders."""

from typing import Literal

from pydantic import Field

from phonoscope.config.section import Section

Arm = Literal["scrambled", "per_codebook", "pretrained", "summed", "half_codebooks", "half_embedding"]


class EncoderConfig(Section):
    """Encoders of one window of audio, trained to tell the word and the speaker."""

    codec: str = "encodec"  # the codec whose codes are read
    layers: int = Field(default=8, ge=1)  # RVQ layers that are read: the first ones
    tr_s: float = Field(default=1.5, gt=0)  # repetition time: the length of a window in seconds
    mel_bins: int = Field(default=80, ge=1)  # bins of the mel spectrogram
    sentence_windows: int = Field(default=1, ge=0)  # windows of each utterance that is no word, for the speaker task
    embed_dim: int = Field(default=64, ge=1)  # dimensions of a code's embedding
    start: Literal["random", "codec"] = "random"  # start of the embedding: random, or one table a codebook of the codec
    combine: Literal["concat", "sum"] = "concat"  # vectors of a frame side by side, or added up as in the codec
    steps: int = Field(default=70, ge=1)  # gradient steps of one training
    batch_size: int = Field(default=20, ge=2)  # windows a step
    lr: float = Field(default=3e-3, gt=0)  # peak learning rate of AdamW; a one-cycle schedule
    weight_decay: float = Field(default=0.01, ge=0)  # weight decay of AdamW
    log_every: int = Field(default=10, ge=1)  # steps between two rows of the training curve
    mixed_precision: bool = True  # bfloat16 on CUDA; other devices always use float32
    seeds: int = Field(default=3, ge=2)  # trainings of each encoder, from different seeds
    seed: int = 0  # seed of the seeds
    arms: tuple[Arm, ...] = ("scrambled", "per_codebook", "pretrained", "summed", "half_codebooks", "half_embedding")
    """Variants of the code encoder that the report trains beside it, from the same seeds."""
