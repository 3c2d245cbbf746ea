from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phonoscope.codecs import start
from phonoscope.codecs.clips import GAIN_DB, Clips
from phonoscope.codecs.start import initialise_from_data, scale_encoder
from phonoscope.codecs.train import CURVE_COLUMNS, CodecTrainer
from phonoscope.config.codecs import TrainingConfig
from phonoscope.errors import DataError

from .tiny import build, voice

KINDS = ["encodec", "dac", "speechtokenizer"]
BRIEF = TrainingConfig(
    batch_size=2, clip_s=0.16, warmup_steps=3, quantizer_steps=4, log_every=2, decay=0.4, dead_usage=0.3
)  # codes die within two steps


@pytest.fixture(autouse=True)
def _few_start_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "START_VECTORS", 320)


def clips_for(codec: Any, *, teacher: bool = False) -> Clips:
    waveforms = [voice(1.5, codec.sample_rate, seed) for seed in range(4)]
    features = None
    if teacher:
        generator = torch.Generator().manual_seed(0)
        features = [torch.randn(len(w) // codec.hop_length, 12, generator=generator) for w in waveforms]
    return Clips(waveforms, codec.hop_length, 8, 2, BRIEF.seed, features)


def make(kind: str, config: TrainingConfig = BRIEF, *, distill: bool = False) -> CodecTrainer:
    return CodecTrainer(build(kind, config.seed), config, distill=distill)


def trained(kind: str, *, teacher: bool = False, **changes: Any) -> CodecTrainer:
    """A trainer after the whole training under changed settings."""
    trainer = make(kind, BRIEF.model_copy(update=changes))
    trainer.train(clips_for(trainer.codec, teacher=teacher))
    return trainer


def same_weights(a: CodecTrainer, b: CodecTrainer) -> bool:
    ours, theirs = a.codec.model.state_dict(), b.codec.model.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_clips_depend_on_seed_and_step_only() -> None:
    codec = build("encodec")
    clips, again = clips_for(codec), clips_for(codec)
    again.draw(17)
    assert torch.equal(clips.draw(5)[0], again.draw(5)[0])
    assert not torch.equal(clips.draw(5)[0], clips.draw(6)[0])
    again.seed += 1
    assert not torch.equal(clips.draw(5)[0], again.draw(5)[0])


def test_clips_are_attenuated_whole_frames_of_one_utterance() -> None:
    ramp = np.repeat(np.arange(1, 51, dtype=np.float32), 320)  # 50 frames, each holding its number
    teacher = [torch.arange(1, 51, dtype=torch.float32)[:, None].repeat(1, 3)]
    clips = Clips([ramp], 320, 10, 4, 0, teacher)
    starts = set()
    for step in range(20):
        audio, features = clips.draw(step)
        assert (audio.shape, features.shape) == ((4, 3200), (4, 10, 3))
        frames = audio.reshape(4, 10, 320)
        gain = frames[..., 0] / features[..., 0]  # constant in a clip only if audio and teacher start together
        torch.testing.assert_close(gain, gain[:, :1].repeat(1, 10))
        torch.testing.assert_close(frames, (features[..., :1] * gain[:, :1, None]).expand(-1, -1, 320))
        assert float(gain.min()) >= 10 ** (-GAIN_DB / 20) * 0.999
        assert float(gain.max()) <= 1.0
        starts |= {int(start) for start in features[:, 0, 0]}
    assert min(starts) == 1
    assert max(starts) == 41


def test_short_utterances_are_padded_with_zeros_on_the_right_and_none_is_refused() -> None:
    clips = Clips([np.ones(700, dtype=np.float32)], 320, 5, 2, 0, [torch.ones(2, 3)])
    audio, features = clips.draw(0)
    assert bool((audio[:, :700] > 0).all())
    assert float(audio[:, 700:].abs().max()) == 0
    assert features.sum(dim=(1, 2)).tolist() == [6.0, 6.0]
    with pytest.raises(DataError, match="no utterance to train"):
        Clips([], 320, 5, 2, 0)


def test_long_utterances_are_drawn_more_often() -> None:
    waveforms = [np.full(3200, 1.0, np.float32), np.full(9 * 3200, 2.0, np.float32)]
    teacher = [torch.ones(10, 1), torch.full((90, 1), 2.0)]
    clips = Clips(waveforms, 320, 1, 50, 0, teacher)
    drawn = torch.cat([clips.draw(step)[1][:, 0, 0] for step in range(8)])
    assert float((drawn == 2).float().mean()) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_a_tiny_model_falls(kind: str) -> None:
    changes = {"warmup_steps": 40, "quantizer_steps": 10, "log_every": 10, "lr": 5e-3, "decay": 0.9}
    curve = trained(kind, **changes).curve_frame()
    assert list(curve.columns) == CURVE_COLUMNS
    assert sorted(curve["step"].unique()) == list(range(10, 51, 10))
    warm = curve[(curve["phase"] == "warm-up") & curve["part"].isin(["stft", "waveform", "latent_mel"])]
    totals = warm.groupby("step")["value"].sum()
    assert totals.loc[40] < 0.95 * totals.loc[10]
    quantized = curve[curve["phase"] == "quantized"]
    assert set(quantized["part"]) >= {"commitment", "perplexity", "used_codes"}
    assert sorted(quantized.loc[quantized["part"] == "perplexity", "layer"].unique()) == [1, 2, 3]
    assert bool((quantized.loc[quantized["part"] == "perplexity", "value"] > 4).all())


def test_curve_holds_means_of_its_own_phase_only() -> None:
    curves = [trained("encodec", log_every=every).curve_frame() for every in (1, 2)]
    single, paired = (curve[curve["part"] == "stft"].set_index("step") for curve in curves)
    assert paired["phase"].to_dict() == {**dict.fromkeys((2, 3), "warm-up"), **dict.fromkeys((4, 6, 7), "quantized")}
    for step, steps in {2: [1, 2], 3: [3], 4: [4], 6: [5, 6], 7: [7]}.items():
        assert paired["value"].loc[step] == pytest.approx(single["value"].loc[steps].mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(kind: str, stop: int, tmp_path: Path) -> None:
    whole, first = trained(kind), make(kind)
    clips = clips_for(first.codec)
    scale_encoder(first.codec, clips)
    first.run(clips, 0, 3, BRIEF.lr, quantized=False, until=min(stop, 3))
    if stop > 3:
        first.start_quantizer(clips)
        first.run(clips, 3, 4, BRIEF.lr, quantized=True, until=stop)
    first.save(tmp_path / "state.pt")
    torch.manual_seed(12345)  # nothing may depend on the global generator any more
    second = CodecTrainer(build(kind, 7), BRIEF)
    second.load(tmp_path / "state.pt")
    assert second.step == stop
    if stop < 3:
        second.run(clips, 0, 3, BRIEF.lr, quantized=False)
    if stop <= 3:
        second.start_quantizer(clips)
    second.run(clips, 3, 4, BRIEF.lr, quantized=True)
    assert same_weights(whole, second)
    assert second.curve == whole.curve
    assert stop > 2 or not same_weights(whole, trained(kind, seed=1))


def test_checkpoint_of_other_parameters_or_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    make("encodec").save(path)
    with pytest.raises(DataError, match=r"training\.lr, training\.decay|training\.decay, training\.lr"):
        make("encodec", BRIEF.model_copy(update={"lr": 1.0, "decay": 0.6})).load(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"state\.pt: not a training checkpoint"):
        make("encodec").load(path)
    with pytest.raises(DataError, match=r"none\.pt"):
        make("encodec").load(tmp_path / "none.pt")


@pytest.mark.parametrize("part", ["stft", "latent_mel", "distillation"])
def test_a_nan_stops_the_training_before_it_reaches_a_weight_and_is_named(part: str) -> None:
    trainer = make("speechtokenizer", distill=True)
    clips = clips_for(trainer.codec, teacher=True)
    trainer.start_quantizer(clips)
    trainer.run(clips, 0, 2, 1e-3, quantized=True, until=1)
    model: Any = trainer.codec.model
    poisoned = {"stft": model.decoder.model[-1].conv.conv, "latent_mel": trainer.mel_head}
    with torch.no_grad():
        poisoned.get(part, model.transform).bias.fill_(torch.nan)
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    with pytest.raises(DataError, match=f"the {part} part is nan at step 1"):
        trainer.run(clips, 0, 2, 1e-3, quantized=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.encoder.state_dict().items())


def test_distillation_moves_the_first_layer_towards_the_teacher() -> None:
    config = BRIEF.model_copy(update={"quantizer_steps": 40, "log_every": 10, "lr": 1e-2})
    trainer = make("speechtokenizer", config, distill=True)
    clips = clips_for(trainer.codec, teacher=True)
    scale_encoder(trainer.codec, clips)
    trainer.start_quantizer(clips)
    trainer.run(clips, 0, 40, config.lr, quantized=True)
    curve = trainer.curve_frame()
    loss = curve[curve["part"] == "distillation"].set_index("step")["value"]
    assert loss.loc[40] < loss.loc[10]


def test_without_distillation_the_semantic_map_is_left_alone() -> None:
    before = make("speechtokenizer").codec.model.transform.weight
    trainer = trained("speechtokenizer", teacher=True)
    assert torch.equal(trainer.codec.model.transform.weight, before)
    assert "distillation" not in set(trainer.curve_frame()["part"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("deviation", [1.0, 0.3])
def test_every_convolution_of_the_encoder_is_standardised_on_the_data(kind: str, deviation: float) -> None:
    codec = build(kind)
    rate = codec.sample_rate
    audio = torch.from_numpy(np.stack([voice(0.6, rate, seed) for seed in range(4)]))[:, None]
    with torch.no_grad():
        before = codec.latent(audio).std()
    initialise_from_data(codec.model.encoder, audio, deviation)
    seen: list[torch.Tensor] = []
    layers: list[Any] = [module for module in codec.model.encoder.modules() if hasattr(module, "weight_g")]
    assert not any(layer._forward_hooks for layer in layers)
    handles = [layer.register_forward_hook(lambda _, __, output: seen.append(output)) for layer in layers]
    with torch.no_grad():
        latent = codec.latent(audio)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(layers) > 8
    for output in seen:
        torch.testing.assert_close(output.mean(dim=(0, 2)), torch.zeros(output.shape[1]), atol=2e-3, rtol=0)
        torch.testing.assert_close(output.std(dim=(0, 2)), torch.full((output.shape[1],), deviation), atol=2e-3, rtol=0)
    assert float(latent.std()) == pytest.approx(deviation, rel=0.01) != pytest.approx(float(before), rel=0.01)


def test_hooks_are_gone_also_after_a_failure() -> None:
    codec = build("encodec")
    with pytest.raises(RuntimeError):
        initialise_from_data(codec.model.encoder, torch.zeros(1, 5, 6400), 1.0)
    assert not any(module._forward_hooks for module in codec.model.encoder.modules())
