"""Vector quantization: quantizers, sequence models over codes, the ablation, the diagnosis of quantizers."""
