"""The result table of every probe: one row a number, the same columns for layers, sums, latents and controls.

| column | content |
|---|---|
| codec | name of the codec or of the token table |
| task | name in `probes.tasks.TASKS` (phone, speaker, pitch, ...), or the name given with labels from arrays |
| split | held-out units: utterances, speakers or texts |
| input | layer, cumulative, latent, untrained, codes |
| layer | RVQ layer from 1; 0 for the latent |
| probe | linear, rank_<r>, mlp, pooled; controls: permuted, lookup, majority; table: no probe |
| measure | macro_f1, accuracy, r2, mae, selectivity; mi_corrected_bits, mi_held_out_bits, mi_held_out_share; |
| | mdl_bits, mdl_compression: see docs/probes.md |
| value | the number |
| low, high | its confidence interval; the range over draws of a permuted codebook; else empty |
| null | the same measure on labels permuted between units (utterances or speakers); empty where it was not asked for |
| converged | true or false: whether the fits behind this row converged |
"""

from __future__ import annotations

HEAD = ("codec", "task", "split", "input", "layer")
COLUMNS = (*HEAD, "probe", "measure", "value", "low", "high", "null", "converged")
CLASS_COLUMNS = (*HEAD, "class", "group", "frames", "precision", "recall", "f1")  # scores of the linear probe
CONFUSION_COLUMNS = (*HEAD, "class", "predicted", "frames")  # eval frames of the linear probe
