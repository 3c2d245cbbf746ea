"""Parameters of the probes. Sections `probe` and `depth` are two settings of the same pipeline."""

from typing import Literal, Self

from pydantic import Field, model_validator

from phonoscope.config.section import Section

ClassWeight = Literal["balanced", "none"]
InputName = Literal["layer", "cumulative", "latent", "untrained", "codes"]
ProbeName = Literal["linear", "rank", "mlp", "pooled", "permuted", "lookup", "majority"]
MeasureName = Literal["selectivity", "mdl"]
Names = tuple[str, ...]


class ClassifierConfig(Section):
    """A multinomial logistic regression."""

    C: float = Field(default=1.0, gt=0)  # inverse strength of the L2 penalty, scikit-learn's `C`
    max_iter: int = Field(default=1000, ge=1)  # L-BFGS iterations; a fit that needs more is reported as not converged
    class_weight: ClassWeight = "balanced"  # `balanced` gives every class the same total weight, `none` every frame
    tolerance: float = Field(default=1e-6, gt=0, le=1e-2)  # largest component of the scaled gradient at convergence


class MlpConfig(Section):
    """The probe with one hidden layer."""

    hidden: int = Field(default=64, ge=1)  # units of the hidden layer
    steps: int = Field(default=300, ge=1)  # steps of AdamW
    batch_size: int = Field(default=1024, ge=1)  # frames a step, for inputs that are no table; a table is taken whole
    lr: float = Field(default=0.01, gt=0)  # learning rate, which falls to 0 by a cosine
    weight_decay: float = Field(default=0.01, ge=0)  # AdamW's weight decay


class ProbeConfig(Section):
    """What is probed, from what, how, and against which controls."""

    seed: int = Field(default=0, ge=0)  # seed of every permutation, control task, block, fold and network
    tasks: Names = ("phone", "speaker", "pitch")  # tasks by name, or `all`; the registry is `phonoscope.probes.tasks`
    information: Names = ()  # tasks whose mutual information with the codes is measured, at every layer; or `all`
    every_split: bool = False  # hold out everything that a task asks for (texts beside utterances), or only the first
    layers: tuple[int, ...] = ()  # RVQ layers that are probed; those that a codec lacks are left out. Empty takes all
    inputs: tuple[InputName, ...] = ("layer",)
    """One layer's vectors, the sum of layers 1 to l, the latent, a layer of the untrained codec, or one-hot codes."""
    vectors: Literal["sum", "raw"] = "sum"  # code vectors as in the sum, or as stored; only DAC's and Mimi's differ
    train_utterances: int = Field(default=0, ge=0)  # train utterances, evenly spread, the same for every input; 0: all
    eval_utterances: int = Field(default=0, ge=0)  # eval utterances that probes are scored on; 0 takes all
    probes: tuple[ProbeName, ...] = ("linear", "rank", "permuted", "lookup", "majority")
    """Probes and controls; the last three are controls. An untrained codec gets the linear probe alone."""
    measures: tuple[MeasureName, ...] = ()  # selectivity against random classes, length of the online code
    label_null: bool = False  # whether the linear, mlp and pooled probes are fitted again to permuted labels
    classifier: ClassifierConfig = ClassifierConfig()  # the linear probe of classes
    alpha: float = Field(default=0.0, ge=0)  # ridge penalty of the linear probe of values; 0 is ordinary least squares
    mlp: MlpConfig = MlpConfig()  # the probe with one hidden layer
    ranks: tuple[int, ...] = (1, 2, 4, 8)  # numbers of directions that the reduced-rank probes may use
    codebook_permutations: int = Field(default=3, ge=1)  # permuted codebooks that scores are averaged over
    label_permutations: int = Field(default=20, ge=2)  # orders of the segments behind the mutual information's null
    information_folds: int = Field(default=5, ge=3)  # folds of the mutual information's held-out lower bound
    blocks: tuple[float, ...] = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)
    """Rising shares of the train frames at which the blocks of the online code end; the last is 1."""
    text_folds: int = Field(default=5, ge=2)  # folds of held-out texts
    confidence: float = Field(default=0.95, gt=0, lt=1)  # nominal coverage of the intervals

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.blocks) != sorted({*self.blocks}) or min(self.blocks, default=0) <= 0 or self.blocks[-1] != 1:
            raise ValueError("blocks must be rising shares above 0, the last of them 1")
        if min(self.layers + self.ranks, default=1) < 1:
            raise ValueError("layers and ranks are counted from 1")
        return self


class DepthConfig(ProbeConfig):
    """More inputs, probes and measures, on a sample of the utterances; all parameters are those of `ProbeConfig`."""

    tasks: Names = ("phone",)
    information: Names = ("phone", "phone_group", "voicing", "pitch_band", "speaker", "sex", "accent", "word")
    every_split: bool = True
    layers: tuple[int, ...] = (1, 2, 4, 8)
    inputs: tuple[InputName, ...] = ("layer", "cumulative", "latent", "untrained")
    train_utterances: int = Field(default=240, ge=0)
    eval_utterances: int = Field(default=100, ge=0)
    # none of the controls by code, which sums and latents cannot have
    probes: tuple[ProbeName, ...] = ("linear", "rank", "mlp", "pooled")
    measures: tuple[MeasureName, ...] = ("selectivity", "mdl")
    ranks: tuple[int, ...] = (8,)
    label_null: bool = True
    # coarser, because frames are fitted in single precision
    classifier: ClassifierConfig = ClassifierConfig(max_iter=300, tolerance=1e-4)
