"""The nouns that all parts share: what an artifact holds, how it is read, written and checked.

`Manifest` (utterances), `Split` (train and eval), `Labels` (phones and F0 in time), `Tokens` (codes) with their reader
`Tokens.batches`, `Codebooks` (code vectors), `Latents` (before quantization), `Features` (activations); `phones` is the
phone set. Each noun has `load`, `save`, `validate`, and `from_arrays` or the like for arrays of a notebook.
"""

from phonoscope.data.codebooks import Codebooks
from phonoscope.data.features import Features
from phonoscope.data.labels import Alignment, FrameLabels, Interval, Labels, TimeLabels
from phonoscope.data.latents import Latents
from phonoscope.data.manifest import Manifest
from phonoscope.data.split import Split
from phonoscope.data.tokens import Frames, Tokens

__all__ = [
    "Alignment",
    "Codebooks",
    "Features",
    "FrameLabels",
    "Frames",
    "Interval",
    "Labels",
    "Latents",
    "Manifest",
    "Split",
    "TimeLabels",
    "Tokens",
]
