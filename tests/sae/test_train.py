"""The one training loop: exact resumption, the schedule, dead features, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phonoscope.config.sae import SaeConfig
from phonoscope.errors import DataError
from phonoscope.sae.data import Frames
from phonoscope.sae.fit import fit, train_sae
from phonoscope.sae.initial import geometric_median, initialise
from phonoscope.sae.models import SparseAutoencoder, build_shape
from phonoscope.sae.train import SaeTrainer
from tests.sae.planted import ACTIVE, DIMS, config, gaussian, plant

CPU = torch.device("cpu")
FRAMES = Frames.of(plant(1000).frames)


def _trainer(frames: Frames, settings: SaeConfig) -> SaeTrainer:
    torch.manual_seed(0)
    shape = build_shape("autoencoder", settings, d_in=DIMS, d_out=DIMS)
    return SaeTrainer(SparseAutoencoder(shape), frames, settings, CPU)


def _settings(**changes: Any) -> SaeConfig:
    return config(epochs=4, batch_size=96, log_every=7, dead_after=0.2, resample_every=0.5, **changes)


@pytest.mark.parametrize("changes", [{}, {"dead": "resample"}, {"kind": "jumprelu"}, {"kind": "matryoshka"}])
def test_a_killed_training_resumes_to_the_same_weights(changes: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = tmp_path / "encoder_1.pt"
    settings = _settings(checkpoint_every=10, **changes)
    unbroken = fit(FRAMES, "autoencoder", settings, CPU)
    killed = _trainer(FRAMES, settings)

    def save_and_die(path: Path) -> None:
        SaeTrainer.save(killed, path)
        raise KeyboardInterrupt

    killed.save = save_and_die
    with pytest.raises(KeyboardInterrupt):
        killed.run(checkpoint)
    torch.manual_seed(99)
    for _ in range(2):  # from the middle, and from the end
        resumed = fit(FRAMES, "autoencoder", settings, CPU, checkpoint=checkpoint)
        for name, tensor in unbroken.model.state_dict().items():
            assert torch.equal(resumed.model.state_dict()[name], tensor)
        assert resumed.curve == unbroken.curve


def test_a_broken_or_another_trainings_checkpoint_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "checkpoint.pt"
    trainer = _trainer(FRAMES, _settings())
    trainer.step = 3
    trainer.save(path)
    other = Frames.of(plant(1000, seed=5).frames)
    for trainer in (_trainer(FRAMES, _settings(lr=0.1)), _trainer(other, _settings())):
        trainer.resume(path)
        assert trainer.step == 0
    assert caplog.text.count("other parameters or features") == 2
    path.write_bytes(path.read_bytes()[:100])
    trainer = _trainer(FRAMES, _settings())
    trainer.resume(path)
    assert trainer.step == 0
    assert caplog.text.count("started again") == 3


def test_the_learning_rate_rises_stays_and_falls() -> None:
    trainer = _trainer(FRAMES, config(epochs=10, batch_size=100, warmup=0.1, decay=0.5, lr=1.0))
    assert trainer.steps == 100
    rates = [trainer.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert set(rates[10:51]) == {1.0}
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.02)


def test_a_feature_is_dead_after_a_share_of_the_data_not_after_millions() -> None:
    trainer = _trainer(FRAMES, _settings())
    assert trainer.dead_tokens == 200
    trainer._train_step(0)
    assert set(trainer.idle.tolist()) == {0, 96}  # frames of a batch
    trainer.idle[:3] = torch.tensor([199, 200, 5000])
    assert trainer.dead()[:3].tolist() == [False, True, True]


def test_the_start_is_unit_rows_the_transpose_and_the_median() -> None:
    trainer = _trainer(FRAMES, _settings())
    model = trainer.model
    torch.testing.assert_close(model.W_dec.norm(dim=1), torch.ones(model.shape.d_sae))
    ratio = model.encoder / model.W_dec
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0, 0].detach())), rtol=1e-3, atol=0)
    median = geometric_median(torch.from_numpy(FRAMES.inputs))
    torch.testing.assert_close(model.input_bias * trainer.input_scale, median, rtol=1e-3, atol=1e-3)
    assert model.input_bias is model.b_dec


def test_a_transcoder_starts_from_pairs_of_frames() -> None:
    x = gaussian(50, 6, seed=0)
    shape = build_shape("transcoder", SaeConfig(expansion=2, k=2), d_in=6, d_out=4)
    model = SparseAutoencoder(shape)
    initialise(model, x, x[:, :4] * 2, torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.W_dec.norm(dim=1), torch.ones(12))
    assert (torch.nn.functional.cosine_similarity(model.encoder[:, :4], model.W_dec, dim=1)).mean() > 0.3


def test_the_geometric_median_shrugs_off_an_outlier() -> None:
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0], [1.0, 1.0]])
    torch.testing.assert_close(geometric_median(points), torch.ones(2))
    far = torch.cat([points, torch.tensor([[1e6, 1.0]])])
    assert float((geometric_median(far) - 1).norm()) < 1


def test_no_frames_equal_frames_and_frames_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="no frames"):
        Frames.of(np.zeros((0, 4), np.float16))
    with pytest.raises(DataError, match="inputs, but"):
        Frames(np.zeros((3, 4)), np.zeros((2, 4)), np.arange(2))
    with pytest.raises(DataError, match="all frames are equal"):
        _trainer(Frames.of(np.ones((50, DIMS), np.float32)), _settings())
    for value in (np.nan, np.inf):
        broken = plant(50).frames.astype(np.float16)
        broken[7, 3] = value
        with pytest.raises(DataError, match="not finite"):
            Frames.of(broken)


def test_a_diverging_loss_stops_the_training() -> None:
    trainer = _trainer(FRAMES, _settings())
    with torch.no_grad():
        trainer.model.b_dec.fill_(torch.nan)
    with pytest.raises(DataError, match="at step 0; lower the learning rate"):
        trainer.run()


def test_every_frame_is_seen_once_a_pass_in_another_order() -> None:
    data = Frames.of(np.arange(25, dtype=np.float32)[:, None])
    steps = [data.batch(step, 10, seed=3) for step in range(5)]
    order = np.concatenate(steps)
    assert sorted(order[:25]) == sorted(order[25:]) == list(range(25))
    assert not np.array_equal(order[:25], order[25:])
    assert not np.array_equal(steps[0], data.batch(0, 10, seed=4))


def test_only_the_given_rows_are_taken() -> None:
    values = np.arange(12, dtype=np.float16).reshape(6, 2)
    data = Frames(values, values, np.array([1, 4]))
    x, y = data.take(np.array([1, 0]), CPU)
    assert x is y
    assert x.tolist() == [[8.0, 9.0], [2.0, 3.0]]


def test_an_autoencoder_is_trained_on_arrays_with_intervals_over_utterances() -> None:
    frames, utterances = plant(1200).frames.astype(np.float16), np.repeat(np.arange(60), 20)
    fitted = train_sae(frames, utterances=utterances, config=config(epochs=3))
    assert fitted.table is not None
    table: Any = fitted.table.set_index("metric")
    assert table.loc["fvu", "value"] == pytest.approx(fitted.scores.fvu)
    assert table.loc["l0", "value"] == pytest.approx(fitted.scores.l0) == pytest.approx(ACTIVE, rel=0.2)
    for metric in ("fvu", "l0"):
        assert table.loc[metric, "low"] < table.loc[metric, "value"] < table.loc[metric, "high"]
    encoded = fitted.model.encode(frames[:5])
    assert torch.equal(encoded, fitted.model.encode(torch.from_numpy(frames[:5])))
    two: Any = train_sae(frames, utterances=utterances // 30, config=config(epochs=1)).table
    assert not np.isfinite(two.set_index("metric").loc["fvu", ["low", "high"]].astype(float)).any()  # one is held out
    with pytest.raises(DataError, match="one utterance cannot be split"):
        train_sae(frames, utterances=np.zeros(1200), config=config())
    with pytest.raises(DataError, match=r"\[frames, width\]"):
        train_sae(frames[0], config=config())
