from __future__ import annotations

from typing import Any

import pytest
import torch

from phonoscope.config.sites import Site
from phonoscope.errors import ParamsError
from phonoscope.whisper import Whisper
from phonoscope.whisper.model import embed, run_blocks
from phonoscope.whisper.sites import Normaliser, Point, capture, outputs, patched, substitute
from phonoscope.whisper.transcript import token_batch

from .checkout import noise

WINDOW = 30 * 16_000


def forward(whisper: Whisper, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Run both sides once; the streams after the last encoder block and at the decoder's end."""
    stream = run_blocks(whisper, embed(whisper, [noise(8000, seed)], WINDOW))
    tokens = token_batch(whisper, [(3, 4, 5)])[:, :-1]
    encoded = whisper.model.model.encoder.layer_norm(stream)
    return stream, whisper.model.model.decoder(tokens, encoder_hidden_states=encoded).last_hidden_state


def taken(whisper: Whisper, points: list[Point]) -> list[torch.Tensor]:
    with capture(points) as captured:
        forward(whisper)
    return [captured[point] for point in points]


def test_streams_are_the_hidden_states_of_transformers(tiny: Whisper) -> None:
    mel = tiny.feature_extractor([noise(8000)], sampling_rate=16_000, return_tensors="pt").input_features
    tokens = token_batch(tiny, [(3, 4, 5)])[:, :-1]
    whole = tiny.model(input_features=mel, decoder_input_ids=tokens, output_hidden_states=True)
    for side, states in (("encoder", whole.encoder_hidden_states), ("decoder", whole.decoder_hidden_states)):
        for layer in range(len(states) - 1):  # transformers puts its last hidden state after the final norm
            (captured,) = taken(tiny, outputs(tiny, Site.parse(f"{side}_{layer}")))
            torch.testing.assert_close(captured, states[layer])
    (last,) = taken(tiny, outputs(tiny, Site.parse("encoder_3")))
    torch.testing.assert_close(tiny.model.model.encoder.layer_norm(last), whole.encoder_last_hidden_state)


def test_attention_and_mlp_add_up_to_the_block(tiny: Whisper) -> None:
    names = ("encoder_1", "attention_2", "mlp_2", "encoder_2")
    before, attention, mlp, after = taken(tiny, [outputs(tiny, Site.parse(name))[0] for name in names])
    torch.testing.assert_close(before + attention + mlp, after)


def test_a_site_that_the_model_lacks_is_refused_with_those_it_has(tiny: Whisper) -> None:
    for name in ("encoder_4", "decoder_3", "attention_4"):
        with pytest.raises(ParamsError, match=r"has encoder_0 to encoder_3, mlp_1 and attention_1 to 3.*decoder_2"):
            outputs(tiny, Site.parse(name))


@pytest.mark.parametrize("site", ["encoder_2", "decoder_1"])
def test_normalising_is_the_final_layer_norm_and_can_be_undone(packaged: Whisper, site: str) -> None:
    place = Site.parse(site)
    side = packaged.model.model.decoder if place.is_decoder else packaged.model.model.encoder
    (states,) = taken(packaged, outputs(packaged, place))
    normaliser = Normaliser(packaged, place, "final")
    values, mean, deviation = normaliser.apply(states)
    torch.testing.assert_close(values, side.layer_norm(states))
    torch.testing.assert_close(normaliser.undo(values, mean, deviation), states, rtol=1e-4, atol=1e-4)
    change = torch.randn_like(states)
    moved = normaliser.undo(values + change, mean, deviation)
    torch.testing.assert_close(moved, states + normaliser.unscale(change, deviation), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("site", "normalize"), [("encoder_2", "none"), ("mlp_2", "final"), ("attention_1", "final")])
def test_what_is_not_normalised_stays_as_it_is(tiny: Whisper, site: str, normalize: Any) -> None:
    normaliser = Normaliser(tiny, Site.parse(site), normalize)
    states = torch.randn(5, 8)
    values, mean, deviation = normaliser.apply(states)
    assert values is states
    assert not mean.any()
    assert (deviation == 1).all()
    assert normaliser.undo(states, mean, deviation) is states


def test_a_patch_is_where_it_says_and_goes_on_from_there(tiny: Whisper) -> None:
    (point,) = outputs(tiny, Site.parse("encoder_2"))
    (before,) = taken(tiny, [point])
    where = torch.zeros(1, 1500, dtype=torch.bool)
    where[0, 3:5] = True
    expected = before.clone()
    expected[where] += 1
    with patched({point: substitute(expected[where], where)}), capture([point]) as after:  # hooks run in order
        stream, _ = forward(tiny)
    assert torch.equal(after[point], expected)
    torch.testing.assert_close(stream, run_blocks(tiny, expected, 2))


def test_hooks_come_off_even_after_an_error(tiny: Whisper) -> None:
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny.model.modules())

    (point,) = outputs(tiny, Site.parse("encoder_0"))
    before = hooks()  # transformers has its own

    def break_off(_states: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), patched({point: break_off}), capture([point]):
        forward(tiny)
    assert hooks() == before
