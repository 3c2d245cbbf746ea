import gzip
import hashlib
import io
import tarfile
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.datasets import librispeech, speechcommands

from phonoscope.corpus import fetch
from phonoscope.corpus.fetch import ARCHIVES, Archive
from phonoscope.errors import DataError, EnvironmentFault, ParamsError
from tests.commandline import phonoscope
from tests.corpus import trees


def tar_bytes(folder: Path, name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder, name)
    return buffer.getvalue()


class Server:
    """A loopback server of one file, which can break off, knows ranges, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.content = b""
        self.break_after: int | None = None
        self.ranges: list[str] = []
        self.knows_ranges = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.ranges.append(self.headers.get("Range", ""))
                start = int(self.headers["Range"][len("bytes=") : -1]) if outer.knows_ranges else 0
                if start and start >= len(outer.content):
                    self.send_error(416)
                    return
                body = outer.content[start:]
                self.send_response(206 if outer.knows_ranges else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: outer.break_after])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/corpus.tar.gz"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def tiny(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A corpus of 40 recordings on the server, in the table as FSDD."""
    server.content = tar_bytes(trees.fsdd(tmp_path / "made" / "recordings").parent, "free-spoken-digits")
    archive = Archive(server.url, hashlib.sha256(server.content).hexdigest(), recordings=40)
    monkeypatch.setitem(ARCHIVES, "fsdd", {"tiny": archive})
    return archive


def test_table_is_torchaudios() -> None:
    archives = [*ARCHIVES["librispeech"].values(), *ARCHIVES["speech_commands"].values()]
    assert {archive.url: archive.sha256 for archive in archives} == librispeech._CHECKSUMS | speechcommands._CHECKSUMS


def test_fetch_returns_the_root_and_fetches_once(tiny: Archive, server: Server, tmp_path: Path) -> None:
    root = fetch.fetch("fsdd", tmp_path / "to")
    assert root == tmp_path / "to" / "fsdd" / "corpus" / "free-spoken-digits"
    assert len(list((root / "recordings").glob("*.wav"))) == 40
    assert fetch.fetch("fsdd", tmp_path / "to", "tiny") == root
    assert len(server.ranges) == 1


@pytest.mark.usefixtures("tiny")
def test_the_command_fetches_the_first_archive_unless_told(tmp_path: Path) -> None:
    seen = phonoscope("fetch", "fsdd", str(tmp_path / "to"))
    assert (seen.code, seen.out.split()[0]) == (0, "corpus.source=fsdd"), seen
    assert phonoscope("fetch", "fsdd", str(tmp_path / "to"), "--subset", "tiny") == seen


def test_a_broken_download_goes_on(
    tiny: Archive, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CHUNK_BYTES", 100)
    server.break_after = 1000
    with pytest.raises(EnvironmentFault, match=r"run the same command again.*corpus\.tar\.gz\.part"):
        fetch.fetch("fsdd", tmp_path)
    kept = (tmp_path / "fsdd" / "corpus.tar.gz.part").stat().st_size
    server.break_after = None
    fetch.fetch("fsdd", tmp_path)
    assert kept == 1000
    assert server.ranges[-1] == "bytes=1000-"


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_whole_part_is_taken_and_a_server_without_ranges_starts_over(
    tiny: Archive, server: Server, tmp_path: Path, knows_ranges: bool
) -> None:
    path, server.knows_ranges = tmp_path / "corpus.tar.gz", knows_ranges
    path.with_name("corpus.tar.gz.part").write_bytes(server.content if knows_ranges else b"x" * 500)
    fetch.download(tiny, path)
    assert path.read_bytes() == server.content


def test_a_wrong_checksum_removes_the_file(tiny: Archive, server: Server, tmp_path: Path) -> None:
    server.content = server.content[:-1] + b"?"
    with pytest.raises(DataError, match="SHA-256"):
        fetch.fetch("fsdd", tmp_path)
    assert list((tmp_path / "fsdd").iterdir()) == []


def test_missing_recordings_are_noticed(tiny: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHIVES, "fsdd", {"tiny": Archive(tiny.url, "", recordings=3000)})
    with pytest.raises(DataError, match="40 recordings, not 3000"):
        fetch.fetch("fsdd", tmp_path / "to")


def test_no_network_names_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RETRIES", 0)
    archive = Archive("http://127.0.0.1:9/corpus.tar.gz", "")
    with pytest.raises(EnvironmentFault, match="check the network"):
        fetch.download(archive, tmp_path / "corpus.tar.gz")


def refused(path: Path, reason: str) -> None:
    """Unpacking is refused with archive, reason and mend, and leaves nothing."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(DataError, match=reason) as caught:
        fetch.unpack(path, path.parent / "to")
    assert str(path) in str(caught.value)
    assert "remove it and fetch it again" in str(caught.value)
    assert sorted(path.parent.rglob("*")) == before


def archive_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def gzipped(path: Path, *blocks: bytes) -> Path:
    with gzip.open(path, "wb") as file:
        for block in blocks:
            file.write(block)
    return path


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each member that unpacking wrote."""
    sizes: list[int] = []
    copy = tarfile.copyfileobj

    def counted(source: io.BufferedIOBase, target: io.BufferedIOBase, *options: object, **named: object) -> None:
        try:
            copy(source, target, *options, **named)
        finally:
            sizes.append(target.tell())

    monkeypatch.setattr(tarfile, "copyfileobj", counted)
    return sizes


def test_a_gzip_bomb_stops_early(tmp_path: Path, written: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SMALL_BYTES", 100_000)
    members = [(tarfile.TarInfo(f"{number}.wav"), bytes(30_000)) for number in range(100)]
    path = archive_of(tmp_path / "bomb.tar.gz", *members)
    written.clear()
    assert path.stat().st_size * fetch.MAX_EXPANSION < 300_000
    refused(path, "unpacks to more than")
    assert 0 < sum(written) <= max(100_000, path.stat().st_size * fetch.MAX_EXPANSION)


def test_a_member_that_declares_too_much_is_not_begun(tmp_path: Path, written: list[int]) -> None:
    refused(gzipped(tmp_path / "huge.tar.gz", header("a.wav", 2**40), bytes(1024)), "unpacks to more than")
    assert not written


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_of_gigabytes_is_not_read(tmp_path: Path, kind: bytes) -> None:
    path = gzipped(tmp_path / "header.tar.gz", header("x", 8 * 2**30, kind), *[bytes(2**20)] * 8)
    tracemalloc.start()
    try:
        refused(path, "a header of 8589934592 bytes")
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_sparse_member_counts_with_its_holes_and_too_many_members_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = tarfile.TarInfo("a.wav")
    sparse.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**45), "GNU.sparse.numblocks": "1"}
    refused(archive_of(tmp_path / "sparse.tar.gz", (sparse, b"x")), "unpacks to more than")
    monkeypatch.setattr(fetch, "MAX_MEMBERS", 10)
    members = [(tarfile.TarInfo(f"{number}.wav"), b"") for number in range(11)]
    refused(archive_of(tmp_path / "many.tar.gz", *members), "more than 10 members")


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        *(("a.wav", kind, "") for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)),
        *(("a.wav", tarfile.SYMTYPE, target) for target in ("/etc/passwd", "../../x")),
        ("a.wav", tarfile.LNKTYPE, "../x"),
        ("../evil.txt", tarfile.REGTYPE, ""),
    ],
)
def test_special_files_and_entries_that_point_outside_are_refused(
    tmp_path: Path, name: str, kind: bytes, target: str
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    refused(archive_of(tmp_path / "special.tar.gz", (member, b"")), "cannot be unpacked")


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_damaged_archives_are_refused(tmp_path: Path, keep: float) -> None:
    content = tar_bytes(trees.fsdd(tmp_path / "made"), "digits")
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(content[: int(len(content) * keep)])
    refused(path, "remove it and fetch it again")


@given(data=st.data())
@settings(max_examples=200)
def test_any_change_of_an_archive_is_refused_or_unpacked(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("tar")
    member = tarfile.TarInfo("a/b.wav")
    member.pax_headers = {"comment": "spoken", "path": "a/ü.wav", "size": "600"}
    path = archive_of(folder / "a.tar.gz", (member, bytes(600)))
    content = bytearray(gzip.decompress(path.read_bytes()))[: data.draw(st.integers(0, 4096))]
    for place in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=4)):
        content[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
    gzipped(path, bytes(content))
    try:
        fetch.unpack(path, folder / "to")
    except DataError:
        assert not (folder / "to").exists()


@pytest.mark.parametrize(("name", "subset"), [("common_voice", ""), ("timit", ""), ("librispeech", "train-x")])
def test_unknown_names_list_what_there_is(name: str, subset: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="there are"):
        fetch.fetch(name, tmp_path, subset)
