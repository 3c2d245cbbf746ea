"""Phonoscope looks inside speech representations.

The front doors are those of the parts, imported from there:

    phonoscope.data      Tokens, Codebooks, Labels, Manifest, Split
    phonoscope.codecs    load_codec, encode
    phonoscope.probes    probe
    phonoscope.geometry  pool_codes, cluster_scores
    phonoscope.sae       train_sae, load_sae; phonoscope.sae.interpret: phone_detectors
    phonoscope.vq        diagnose, build_quantizer

Importing them here would take 1.5 s in every process and make every stage depend on every part.
"""
