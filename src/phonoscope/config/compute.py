"""Parameters of how the work is done."""

from typing import Literal

from pydantic import Field

from phonoscope.config.section import Section

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


class ComputeConfig(Section):
    """How the work is done. `workers` changes no output and is in no stage's params."""

    workers: int = Field(default=2, ge=1)  # processes that shards of utterances are spread over
    torch_threads: int = Field(default=1, ge=1)  # fixed, not detected: trained weights differ between thread counts
    device: DeviceName = "auto"  # where torch works; `auto` takes CUDA, then Apple's MPS, then the CPU
