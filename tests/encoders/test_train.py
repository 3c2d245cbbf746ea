from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from phonoscope.config.encoders import EncoderConfig
from phonoscope.encoders import AudioEncoder
from phonoscope.encoders.train import Trained, evaluate, train_encoder
from phonoscope.encoders.windows import Clip, Windows, cut_windows

CPU = torch.device("cpu")
CONFIG = EncoderConfig(steps=160, batch_size=16, lr=0.01, log_every=40)


def planted(seed: int = 0, words: int = 3, speakers: int = 2, takes: int = 32) -> Windows:
    """The word is an order of two codes in the first codebook, the speaker a code of the second; the rest is chance."""
    rng = np.random.default_rng(seed)
    made = []
    for word in range(words):
        for speaker in range(speakers):
            for take in range(takes):
                frames = rng.integers(20, 32, (3, 12))
                start = rng.integers(0, 9)
                frames[0, start : start + 3] = np.roll([1, 2, 3], word)
                frames[1, rng.integers(0, 12)] = 10 + speaker
                made.append(Clip(f"{word}{speaker}{take}", frames.astype(np.int16), f"s{speaker}", f"w{word}"))
    return cut_windows(made, 50.0, 1.0)


def train(config: EncoderConfig = CONFIG, windows: Windows | None = None, seed: int = 0) -> Trained:
    torch.manual_seed(seed)
    encoder = AudioEncoder("codes", channels=3, vocabulary=32, embed_dim=8)
    return train_encoder(encoder, windows or planted(), planted(seed=1), config, seed, CPU)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train()


def test_a_planted_word_and_speaker_are_learned(trained: Trained) -> None:
    assert trained.scores["accuracy_word"] > 0.95  # by the order of codes alone: a bag of codes tells no word
    assert trained.scores["accuracy_speaker"] > 0.95


def test_labels_by_chance_are_not_learned() -> None:
    windows, rng = planted(), np.random.default_rng(0)
    shuffled = replace(windows, labels={task: rng.permutation(labels) for task, labels in windows.labels.items()})
    scores = train(windows=shuffled).scores
    assert scores["accuracy_word"] < 0.55
    assert scores["accuracy_speaker"] < 0.75


def test_the_same_seed_gives_the_same_weights(trained: Trained) -> None:
    again, other = train(), train(seed=1)
    state, repeated = trained.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(state[name], repeated[name]) for name in state)
    assert not torch.equal(state["heads.word.weight"], other.model.state_dict()["heads.word.weight"])


def test_the_curve_says_what_the_codes_and_their_embedding_do(trained: Trained) -> None:
    curve = trained.curve
    assert curve["step"].tolist() == [40, 80, 120, 160]
    assert curve["loss_word"].iloc[-1] < curve["loss_word"].iloc[0]
    assert (curve["code_perplexity"] <= curve["codes_used"] + 1e-9).all()
    norms = trained.model.encoder.embedding.table.weight.norm(dim=1)
    assert curve["embedding_norm"].iloc[-1] == pytest.approx(float(norms.mean()))


def test_scores_are_scikit_learns_on_the_isolated_words_only(trained: Trained) -> None:
    windows = planted(seed=2)
    labels = windows.labels["word"].copy()
    labels[::3] = -1
    half = replace(windows, labels={**windows.labels, "word": labels})
    scores, hits = evaluate(trained.model, half, CONFIG, CPU)
    with torch.no_grad():
        mask = torch.arange(windows.x.shape[2]) < torch.from_numpy(windows.lengths)[:, None]
        result = trained.model(torch.from_numpy(windows.x), mask)["word"].argmax(1).numpy()
    known = labels >= 0
    assert scores["accuracy_word"] == accuracy_score(labels[known], result[known])
    assert scores["macro_f1_word"] == pytest.approx(f1_score(labels[known], result[known], average="macro"))
    words = hits[hits["task"] == "word"].set_index("utterance")
    for name in np.unique(half.utterances):
        ours = known & (np.array(half.utterances) == name)
        if ours.any():
            assert words.loc[name, "windows"] == ours.sum()
            assert words.loc[name, "right"] == (labels == result)[ours].sum()
    assert words["windows"].sum() == known.sum()


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    mel = cut_windows([Clip(name, np.full((3, 5), np.nan, np.float32), "s", name) for name in "abab"], 5.0, 1.0)
    with pytest.raises(FloatingPointError, match=r"at step 1; lower the learning rate"):
        train_encoder(AudioEncoder("mel", channels=3), mel, mel, CONFIG, 0, CPU)
