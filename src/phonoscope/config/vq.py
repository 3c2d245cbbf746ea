"""Parameters of the ablation of vector quantization."""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from phonoscope.config.section import Section

ArmName = Literal["older", "frozen_encoder", "no_augmentation", "random_start"]


class SequenceConfig(Section):
    """The sequence models over codes or encoder outputs."""

    components: int = Field(default=20, ge=2)  # truncation of the HDP's stick-breaking
    alpha: float = Field(default=4.0, gt=0)  # concentration of a group's weights round the shared base measure
    gamma: float = Field(default=4.0, gt=0)  # concentration of the shared base measure
    states: int = Field(default=8, ge=2)  # states of the HSMM
    d_max: int = Field(default=8, ge=1)  # longest duration of a segment, in frames of the encoder
    rate: float = Field(default=0.05, gt=0, le=1)  # learning rate of the stochastic variational step
    local_iterations: int = Field(default=5, ge=1)  # iterations of a group's own inference


class OlderConfig(Section):
    """The settings that the document names as its older ones: the arm `older`."""

    decay: float = Field(default=0.99, ge=0, lt=1)  # decay of the EMA codebook
    batch_size: int = Field(default=64, ge=1)  # utterances a step
    lr: float = Field(default=1e-3, gt=0)  # Adam's learning rate


class VqConfig(Section):
    """The ablation: a digit classifier with and without a quantizer, an HDP and an HSMM."""

    seed: int = 42  # seed of everything; each run derives its own from it
    seeds: int = Field(default=3, ge=1)  # runs of each of the twelve variants
    arms: tuple[ArmName, ...] = get_args(ArmName)  # further settings that `vq` and `vq_unscaled` are trained under
    arm_seeds: int = Field(default=1, ge=1)  # runs of each arm
    steps: int = Field(default=240, ge=1)  # length of a run in steps, unless `epochs` is set
    epochs: int = Field(default=0, ge=0)  # length of a run in epochs (the document's: 150); 0 leaves it to `steps`
    sample_rate_hz: int = Field(default=8000, ge=4000)  # rate the audio is brought to
    mels: int = Field(default=40, ge=4)  # mel bands of the input
    channels: int = Field(default=64, ge=1)  # channels of the convolutional encoder
    dim: int = Field(default=64, ge=1)  # dimensions of the encoder's output and of the codes
    codes: int = Field(default=512, ge=1)  # codes in the codebook
    decay: float = Field(default=0.95, ge=0, lt=1)  # decay of the EMA codebook
    beta: float = Field(default=0.4, ge=0)  # weight of the commitment loss within the quantizer's loss
    vq_weight: float = Field(default=0.1, ge=0)  # weight of the quantizer's loss beside cross-entropy, after warmup
    warmup_epochs: int = Field(default=10, ge=0)  # epochs over which that weight rises from 0
    dead_window: int = Field(default=20, ge=0)  # steps after which dead codes are replaced; 0 never replaces
    dead_usage: float = Field(default=0.03, ge=0)  # share of uniform usage over that window below which a code is dead
    batch_size: int = Field(default=32, ge=1)  # utterances a step
    lr: float = Field(default=5e-4, gt=0)  # Adam's learning rate
    augment: bool = True  # change level, add noise, mask time and bands of the training input
    start: Literal["data", "random"] = "data"  # codebook's start: k-means of encoder outputs, or random directions
    frozen_epochs: int = Field(default=4, ge=1)  # epochs that the arm `frozen_encoder` leaves the encoder as it is
    older: OlderConfig = OlderConfig()  # the arm `older`
    sequence: SequenceConfig = SequenceConfig()  # HDP and HSMM

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("arms: name each arm once")
        return self
