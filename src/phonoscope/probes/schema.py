"""The result table of every probe: one row a number, the same columns for layers, sums, latents and controls.

| column | content |
|---|---|
| codec | name of the codec or of the token table |
| task | name in `probes.tasks.TASKS` (phone, speaker, pitch, ...), or the name given with labels from arrays |
| split | held-out units: utterances, speakers or texts |
| input | see `INPUTS` |
| layer | RVQ layer from 1; 0 for the latent |
| probe | see `PROBES` |
| measure | see `MEASURES` |
| value | the number |
| low, high | its confidence interval; empty for controls |
| null | the same measure on labels permuted between units (utterances or speakers); empty where it was not asked for |
| converged | true or false: whether the fits behind this row converged |
"""

from __future__ import annotations

from types import MappingProxyType

HEAD = ("codec", "task", "split", "input", "layer")
COLUMNS = (*HEAD, "probe", "measure", "value", "low", "high", "null", "converged")
CLASS_COLUMNS = (*HEAD, "class", "group", "frames", "precision", "recall", "f1")
"""The linear probe's scores by class."""
CONFUSION_COLUMNS = (*HEAD, "class", "predicted", "frames")
"""Eval frames by class and the linear probe's prediction; pairs without frames are left out."""

INPUTS = MappingProxyType(
    {
        "layer": "code vectors of one layer",
        "cumulative": "sum of the code vectors of layers 1 to l",
        "latent": "the encoder's output before quantization",
        "untrained": "one layer of the same codec with random weights",
        "codes": "codes of one layer, one-hot",
    }
)
PROBES = MappingProxyType(
    {
        "linear": "logistic regression of classes, least squares of values",
        "matched": "the linear probe on vectors reduced by PCA to a common number of dimensions",
        "mlp": "one hidden layer",
        "pooled": "the linear probe on the mean vector of each utterance",
        "table": "no probe: measured on the table of codes and classes",
        "permuted": "control: the linear probe on a codebook with its rows permuted; mean over permutations",
        "matched_permuted": "control: the same for the matched probe",
        "lookup": "control: the best prediction for each code, whatever its vector",
        "majority": "control: the most frequent class, or the mean value, of the train frames",
    }
)
CONTROLS = ("permuted", "matched_permuted", "lookup", "majority")
MEASURES = MappingProxyType(
    {
        "macro_f1": "mean F1 over classes",
        "accuracy": "share of frames",
        "r2": "coefficient of determination (value tasks)",
        "mae": "mean absolute error in the unit of the value (value tasks; Hz for pitch)",
        "selectivity": "accuracy less the accuracy on random classes of codes (Hewitt and Liang 2019)",
        "mi_bits": "mutual information of codes and classes in bits, its bias removed",
        "mi_share": "the same as a share of the classes' entropy",
        "mdl_bits": "online code length of the train labels in bits a frame (Voita and Titov 2020)",
        "mdl_compression": "length of the uniform code over that of the online code",
    }
)
