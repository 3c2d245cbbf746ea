from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from phonoscope.commands.foreign_tokens import ForeignTokens, read_codebooks, read_tokens
from phonoscope.config.corpus import SplitConfig
from phonoscope.data import Frames
from phonoscope.errors import DataError

CODES = 16


def table() -> pd.DataFrame:
    """Three utterances of four frames."""
    return pd.DataFrame(
        {
            "utterance": np.repeat(["b", "a", "c"], 4),
            "speaker": np.repeat(["x", "y", "x"], 4),
            "phone": ["AA", None, "sil", "", " S ", "<eps>", "i:", "SIL", "T", "T", "spn", "K"],
            "f0_hz": [100.5, None, 0, float("nan"), 120, 130, 140, 150, 1, 2, 3, 4],
            "code_1": np.arange(12) % CODES,
            "code_2": (np.arange(12) * 5) % CODES,
        }
    )


def save(
    folder: Path, frame: pd.DataFrame | pa.Table, books: dict[str, torch.Tensor] | None = None
) -> tuple[Path, Path]:
    tokens, codebooks = folder / "tokens.parquet", folder / "codebooks.safetensors"
    as_table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(as_table, tokens, row_group_size=5)
    save_file(books or {f"layer_{layer}": torch.randn(CODES, 3) for layer in (1, 2)}, codebooks)
    return tokens, codebooks


def read(folder: Path, frame: pd.DataFrame | pa.Table) -> ForeignTokens:
    return read_tokens(*save(folder, frame))


def frames(foreign: ForeignTokens) -> Frames:
    """All frames of the table, in its order."""
    (batch,) = foreign.tokens.batches(foreign.manifest.utterances, foreign.labels)
    return batch


def phones(part: Frames) -> list[str | None]:
    return [part.phone_names[i] if i >= 0 else None for i in part.phones]


def test_a_table_comes_out_in_our_form(tmp_path: Path) -> None:
    foreign = read(tmp_path, table())
    ours = frames(foreign)
    utterances = [foreign.manifest.utterances[i] for i in ours.utterances]
    assert utterances == table()["utterance"].tolist()
    assert phones(ours) == ["AA", None, "SIL", None, "S", "SIL", "i:", "SIL", "T", "T", "SIL", "K"]
    np.testing.assert_array_equal(ours.f0_hz, [100.5] + [np.nan] * 3 + [120, 130, 140, 150, 1, 2, 3, 4])
    np.testing.assert_array_equal(ours.codes, table()[["code_1", "code_2"]])
    assert foreign.manifest.utterances == ["a", "b", "c"]
    assert foreign.manifest["speaker"] == ["y", "x", "x"]
    assert (foreign.manifest.table[["sex", "accent", "word", "text", "split"]] == "").all(axis=None)
    assert foreign.columns == {"speaker", "phone", "f0_hz"}
    assert [book.shape for book in foreign.codebooks] == [(CODES, 3)] * 2


def test_rows_of_an_utterance_need_not_be_together(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(12)
    ours, mixed = (frames(read(tmp_path, part)) for part in (table(), table().iloc[order]))
    assert phones(mixed) == [phones(ours)[i] for i in order]
    np.testing.assert_array_equal(mixed.f0_hz, ours.f0_hz[order])


def test_types_may_be_any_that_hold_the_values(tmp_path: Path) -> None:
    frame = pa.Table.from_pandas(table(), preserve_index=False)
    frame = frame.set_column(0, "utterance", frame["utterance"].combine_chunks().dictionary_encode())
    frame = frame.set_column(4, "code_1", frame["code_1"].cast(pa.uint8()))
    frame = frame.set_column(3, "f0_hz", frame["f0_hz"].cast(pa.float32()))
    frame = frame.append_column("other", pa.array([[1]] * 12))
    one, other = frames(read(tmp_path, frame)), frames(read(tmp_path, table()))
    for column in ("utterances", "codes", "phones", "f0_hz"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))


def test_numbers_may_name_utterances_and_speakers_and_labels_may_be_absent(tmp_path: Path) -> None:
    frame = table().assign(utterance=np.repeat([10, 9, 8], 4), speaker=np.repeat([1, 2, 1], 4))
    pairs = read(tmp_path, frame).manifest.table[["utterance", "speaker"]].to_numpy().tolist()
    assert pairs == [["10", "1"], ["8", "1"], ["9", "2"]]
    foreign = read(tmp_path, table()[["utterance", "code_1", "code_2"]])
    assert (frames(foreign).phones == -1).all()
    assert np.isnan(frames(foreign).f0_hz).all()
    assert foreign.columns == frozenset()


def test_a_split_that_is_given_is_kept_and_another_drawn_by_speaker(tmp_path: Path) -> None:
    foreign = read(tmp_path, table().assign(split=np.repeat(["train", "eval", "train"], 4)))
    split = foreign.split(SplitConfig(official=False))
    assert (split.train, split.eval) == (["b", "c"], ["a"])
    assert sorted(name for fold in split.speaker_folds for name in fold) == ["x", "y"]
    names = [f"{speaker}{i:02d}" for speaker in "xy" for i in range(10)]
    frame = pd.DataFrame({"utterance": names, "speaker": [name[0] for name in names], "code_1": 0, "code_2": 0})
    split = read(tmp_path, frame).split(SplitConfig(eval_fraction=0.2))
    assert sorted(split.train + split.eval) == names
    assert [sum(name[0] == speaker for name in split.eval) for speaker in "xy"] == [2, 2]


def changed(column: str, row: int, value: Any) -> Callable[[], pd.DataFrame]:
    def change() -> pd.DataFrame:
        frame = table().astype({"code_1": "Int64", "code_2": "Int64"})
        frame.loc[row, column] = value
        return frame

    return change


REFUSED: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "too large": (changed("code_2", 7, CODES), r"code_2 in row 7 is no code; the codebook has 16, from 0 to 15"),
    "negative": (changed("code_1", 11, -1), r"code_1 in row 11 is no code"),
    "missing": (changed("code_1", 3, None), r"code_1 in row 3 is empty"),
    "no name": (changed("utterance", 6, None), r"utterance in row 6 is empty"),
    "negative F0": (changed("f0_hz", 8, -5), r"f0_hz in row 8 is no frequency"),
    "endless F0": (changed("f0_hz", 8, np.inf), r"f0_hz in row 8 is no frequency"),
    "two speakers": (changed("speaker", 1, "z"), r"speaker changes within utterance 'b'"),
    "some speakers": (lambda: table().replace({"speaker": {"y": None}}), r"utterance 'a' has no speaker, while others"),
    "no utterance": (lambda: table().drop(columns="utterance"), r"lacks the column utterance"),
    "no layer": (lambda: table().drop(columns="code_2"), r"lacks the column code_2; 2 codebooks need code_1 to code_2"),
    "too many": (lambda: table().assign(code_3=0), r"has 3 columns of codes for 2 codebooks"),
    "floats": (lambda: table().astype({"code_1": float}), r"code_1 is double, not an integer type"),
    "texts": (lambda: table().assign(f0_hz="low"), r"f0_hz is (large_)?string, not numbers"),
    "one side": (lambda: table().assign(split="train"), r"split holds \['train'\]; each utterance is train or eval"),
    "sides": (lambda: table().assign(split=np.repeat(["train", "eval", "test"], 4)), r"split holds .*'test'"),
    "nothing": (lambda: table().iloc[:0], r"holds no frames"),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_the_schema_does_not_allow_is_named(tmp_path: Path, make: Callable[[], pd.DataFrame], said: str) -> None:
    with pytest.raises(DataError, match=rf"tokens\.parquet: .*{said}"):
        read(tmp_path, make())


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    tokens, codebooks = save(tmp_path, table())
    with pytest.raises(DataError, match=r"gone\.parquet: no such file of tokens"):
        read_tokens(tmp_path / "gone.parquet", codebooks)
    tokens.write_bytes(tokens.read_bytes()[:200])
    with pytest.raises(DataError, match=r"tokens\.parquet: not readable as a Parquet table"):
        read_tokens(tokens, codebooks)
    codebooks.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"codebooks\.safetensors: not a readable safetensors file"):
        read_codebooks(codebooks)
    codebooks.unlink()
    with pytest.raises(DataError, match=r"codebooks\.safetensors: no such file"):
        read_codebooks(codebooks)


BOOKS: dict[str, tuple[dict[str, torch.Tensor], str]] = {
    "none": ({"raw_1": torch.ones(4, 2)}, r"should hold the tensors layer_1, layer_2"),
    "gap": ({"layer_1": torch.ones(4, 2), "layer_3": torch.ones(4, 2)}, r"has \['layer_1', 'layer_3'\]"),
    "flat": ({"layer_1": torch.ones(4)}, r"layer_1 is \[4\], not \[codes, dims\]"),
    "sizes": ({"layer_1": torch.ones(4, 2), "layer_2": torch.ones(5, 2)}, r"layer_2 is \[5, 2\]"),
    "NaN": ({"layer_1": torch.tensor([[1.0], [float("nan")]])}, r"layer_1 has values that are not finite"),
    "huge": ({"layer_1": torch.ones(40_000, 1)}, r"40000 codes a layer; at most 32768"),
}


@pytest.mark.parametrize(("books", "said"), BOOKS.values(), ids=BOOKS)
def test_codebooks_that_do_not_fit_are_named(tmp_path: Path, books: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(DataError, match=rf"codebooks\.safetensors: .*{said}"):
        read_codebooks(save(tmp_path, table(), books)[1])


def test_codebooks_may_differ_in_width_and_type(tmp_path: Path) -> None:
    books = {"layer_1": torch.ones(4, 2, dtype=torch.bfloat16), "layer_2": torch.ones(4, 3), "extra": torch.ones(1)}
    foreign = read_codebooks(save(tmp_path, table(), books)[1])
    assert [(book.shape, book.dtype) for book in foreign] == [((4, 2), np.float32), ((4, 3), np.float32)]
