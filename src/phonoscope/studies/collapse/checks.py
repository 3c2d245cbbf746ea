"""Checks of a trained classifier: does evaluation change its state, does the gradient pass, are the codes right."""

import copy

import torch
import torch.nn.functional as F

from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.evaluation import Evaluator
from phonoscope.studies.collapse.features import Batch


def check_state(model: DigitClassifier, evaluator: Evaluator) -> dict[str, float]:
    """Number of tensors of the model's state that an evaluation changes, in eval() and in train() mode."""
    changed, before = {}, model.state_dict()
    for mode in ("eval", "train"):
        learner = copy.deepcopy(model).train(mode == "train")
        evaluator.passes(learner)
        after = learner.state_dict()
        changed[f"state_changed_in_{mode}"] = float(sum(not torch.equal(before[key], after[key]) for key in before))
    return changed


def check_gradient(model: DigitClassifier, batch: Batch) -> dict[str, float]:
    """The path of the cross-entropy's gradient.

    gradient_cosine: between the quantizer's output and input; 1 if straight-through works. gradient_encoder: norm at
    the encoder's last layer. evaluated_with_graph: 1 if an evaluation carries one. graph_matters, sequence_matters:
    relative change of the logits without gradients, and under another clip's sequence features.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)  # the encoder may have been frozen to the end
    decision = model(batch.mel, batch.lengths)
    loss = F.cross_entropy(decision.logits, batch.labels)
    last = model.encoder.project.weight
    at_output, at_input, at_encoder = torch.autograd.grad(loss, [decision.passed, decision.vectors, last])
    # the quantizer normalises its input, so only the component orthogonal to a vector reaches it
    along = (at_output * decision.vectors).sum(dim=1, keepdim=True) * decision.vectors
    orthogonal = at_output - along if model.quantizer else at_output
    with torch.no_grad():
        evaluated = model(batch.mel, batch.lengths)
        swapped = model(batch.mel, batch.lengths, swap_sequences=True).logits
        difference = (evaluated.logits - decision.logits).abs().max() / evaluated.logits.abs().max()
    changed = (swapped - evaluated.logits).norm() / evaluated.logits.norm()
    return {
        "gradient_cosine": float(F.cosine_similarity(orthogonal.detach().flatten(), at_input.flatten(), dim=0)),
        "gradient_encoder": float(at_encoder.norm()),
        "evaluated_with_graph": float(evaluated.passed.requires_grad),
        "graph_matters": float(difference),
        "sequence_matters": float(changed),
    }


def check_codebook(model: DigitClassifier, evaluator: Evaluator) -> dict[str, float]:
    """The codes against the running means that they should equal; empty without a quantizer.

    code_scale: median over codes of the norm of the code over that of its running mean S_k / N_k; 1 under the right
    update. repaired_*: accuracy, perplexity and active codes in eval, if only the codes are set to those means.
    """
    if not model.quantizer:
        return {}
    book = model.quantizer.books[0]
    means = book.embed_avg / book.cluster_size.clamp(min=1e-12)[:, None]
    scale = book.embed.norm(dim=-1) / means.norm(dim=-1).clamp(min=1e-12)
    repaired = copy.deepcopy(model).eval()
    assert repaired.quantizer
    repaired.quantizer.books[0].embed.copy_(means)
    _, row = evaluator.rows(repaired, evaluator.passes(repaired), 0.0)
    return {
        "code_scale": float(scale.median()),
        "ema_total": float(book.cluster_size.sum()),
        "repaired_accuracy": row["accuracy"],
        "repaired_perplexity": row["perplexity_dataset"],
        "repaired_active_codes": row["active_codes"],
    }
