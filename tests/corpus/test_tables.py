from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import RawItem
from phonoscope.corpus.registry import open_source
from phonoscope.corpus.tables import read_lines, read_rows, read_text
from phonoscope.errors import DataError, PhonoscopeError
from tests.bytes import damaged

# source -> the text files it reads, and one sound file that is none
TREES: dict[str, dict[str, bytes]] = {
    "folder": {"metadata.csv": b'file,speaker,text,split\na.wav,s1,"one, two",train\nb/c.flac,s2,,\n'},
    "common_voice": {"validated.tsv": b'client_id\tpath\tsentence\tgender\nabc\tx.mp3\tHello "you"\tmale\n'},
    "librispeech": {
        "SPEAKERS.TXT": b"; comment\n84 | F | dev | 8 | N\n",
        "dev/84/1/84-1.trans.txt": b"84-1-0 HELLO\n",
        "dev/84/1/84-1-0.flac": b"x",
    },
    "speech_commands": {"testing_list.txt": b"yes/a_nohash_0.wav\n", "yes/a_nohash_0.wav": b"x"},
    "espeak": {
        "speakers.csv": b"speaker,voice,sex,accent,pitch,rate\nanna,en,F,en,50,170\n",
        "words.txt": b"one\ntwo\n",
        "sentences.txt": b"A b.\nC d.\n",
    },
}
READ = [(source, name) for source, tree in TREES.items() for name in tree if not name.endswith((".wav", ".flac"))]


def plant(root: Path, source: str) -> Path:
    for name, content in TREES[source].items():
        (root / source / name).parent.mkdir(parents=True, exist_ok=True)
        (root / source / name).write_bytes(content)
    return root / source


def items(source: str, root: Path) -> list[object]:
    config = CorpusConfig(source=source, root=str(root), sentences_per_speaker=1, takes=1, neural_voice=False)
    return list(open_source(config))


@pytest.mark.parametrize(("source", "name"), READ)
@given(data=st.data())
def test_any_bytes_are_read_or_refused(
    source: str, name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = plant(tmp_path_factory.getbasetemp() / "fuzz", source)
    assert any(isinstance(item, RawItem) for item in items(source, root))  # the whole tree is read
    (root / name).write_bytes(data.draw(damaged(TREES[source][name])))
    found: list[RawItem] = []
    with suppress(PhonoscopeError):
        found = [item for item in items(source, root) if isinstance(item, RawItem)]
    for item in found if source != "espeak" else []:  # espeak-ng would speak
        with pytest.raises(DataError, match="audio file"):
            item.audio.load()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "not a readable table"),
        ("a.csv", b"file\na\n", "no column speaker; it has file"),
        ("a.csv", b"file,speaker\na,b,c\n", "more cells than the header"),
        ("a.csv", b"file,speaker\na,b\nc,d,e\n", "not a readable table"),
        ("a.csv", b"file,speaker\n\xff,b\n", "not a readable table"),
        ("a.csv", b'file,speaker\n"a,b\n', "not a readable table"),
        ("b.csv", None, "no such file"),
    ],
)
def test_a_broken_table_names_file_and_reason(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: .*{reason}"):
        read_rows(tmp_path / name, ("file", "speaker"))


def test_text_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\n\n two \n")
    assert read_text(tmp_path / "a.txt") == "one\n\n two \n"
    assert read_lines(tmp_path / "a.txt") == ["one", "two"]


@pytest.mark.parametrize(("content", "reason"), [(b" \n\n", "empty"), (b"\xff\n", "not readable as UTF-8")])
def test_lines_that_are_none_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.txt: {reason}"):
        read_lines(tmp_path / "a.txt")
