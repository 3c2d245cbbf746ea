from typing import get_args

import pytest
import torch
from torch import Tensor

from phonoscope.config.vq import SequenceConfig
from phonoscope.studies.collapse.sequence import SequenceKind, SequenceLayer, build_sequence

from .planted import everything, segments, sequences_of

CONFIG = SequenceConfig(components=5, states=4, d_max=6)
every = pytest.mark.parametrize("kind", get_args(SequenceKind))
overs = pytest.mark.parametrize("over", ["codes", "vectors"])


def layer(kind: SequenceKind, over: str, seed: int = 0) -> SequenceLayer:
    size = {"codes": 9} if over == "codes" else {"dim": 2}
    return build_sequence(kind, **size, seed=seed, config=CONFIG)


def batch(over: str, sequences: int = 8, frames: int = 20) -> tuple[Tensor, Tensor]:
    states = segments(sequences, frames, seed=0)
    x = sequences_of(over, states, 0)
    mask = torch.arange(frames) < torch.arange(frames - sequences + 1, frames + 1)[:, None]
    return x if over == "codes" else x.float(), mask


def started(kind: SequenceKind, over: str) -> tuple[SequenceLayer, Tensor, Tensor]:
    """A layer that started from a batch, the batch and its mask."""
    model, (x, mask) = layer(kind, over), batch(over)
    model.start(x, mask)
    return model, x, mask


@every
@overs
def test_learning_raises_the_elbo_and_evaluation_changes_nothing(kind: SequenceKind, over: str) -> None:
    model, x, mask = started(kind, over)
    first = model.elbo(model(x, mask), utterances=80)
    for _ in range(20):
        model.learn(model(x, mask), utterances=80)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    out = model(x, mask)
    assert model.elbo(out, utterances=80) > first
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert out.features.shape == (8, model.width)
    assert ((out.features >= 0) & (out.features <= 1 + 1e-6)).all()
    shares = model.model.emission.shares()
    torch.testing.assert_close(out.features[:, : len(shares)].sum(1), torch.ones(8))
    assert float(shares.sum()) == pytest.approx(1)


@every
def test_features_tell_utterances_apart_and_pass_gradients_on(kind: SequenceKind) -> None:
    model, x, mask = started(kind, "vectors")
    x = (x + 1.0).requires_grad_()
    features = model(x, mask).features
    assert float(features.detach().std(0).max()) > 0.02
    features.pow(2).sum().backward()
    assert x.grad[mask].abs().sum() > 0
    assert x.grad[~mask].abs().sum() == 0


@every
@overs
def test_padding_is_ignored_and_a_saved_layer_says_the_same(kind: SequenceKind, over: str) -> None:
    model, x, mask = started(kind, over)
    other = layer(kind, over, seed=1)
    other.load_state_dict(model.state_dict())
    padded = torch.where(mask if over == "codes" else mask[..., None], x, torch.full_like(x, 7))
    assert torch.equal(model(x, mask).features, other(padded, mask).features)


@every
def test_a_constant_input_does_not_tell_its_length(kind: SequenceKind) -> None:
    model, x, mask = started(kind, "codes")
    for _ in range(20):
        model.learn(model(x, mask), utterances=80)
    same = torch.zeros(31, 40, dtype=torch.int64)
    features = model(same, torch.arange(40) < torch.arange(10, 41)[:, None]).features
    assert float((features.amax(0) - features.amin(0)).max()) < 0.15


@every
@overs
def test_one_frame_of_one_utterance_is_enough(kind: SequenceKind, over: str) -> None:
    model, one = layer(kind, over), batch(over)[0][:1, :1]
    model.start(one, everything(one))
    model.learn(model(one, everything(one)), utterances=1)
    assert model(one, everything(one)).features.isfinite().all()
