from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchaudio.datasets import librispeech, speechcommands

from phonoscope.corpus import fetch
from phonoscope.corpus.fetch import ARCHIVES, Archive
from phonoscope.errors import DataError, EnvironmentFault, ParamsError
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
    checksums = librispeech._CHECKSUMS | speechcommands._CHECKSUMS
    ours = {
        archive.url: archive.sha256
        for name in ("librispeech", "speech_commands")
        for archive in ARCHIVES[name].values()
    }
    assert ours == checksums


def test_fetch_returns_the_root_and_fetches_once(tiny: Archive, server: Server, tmp_path: Path) -> None:
    root = fetch.fetch("fsdd", tmp_path / "to")
    assert root == tmp_path / "to" / "fsdd" / "corpus" / "free-spoken-digits"
    assert len(list((root / "recordings").glob("*.wav"))) == 40
    assert fetch.fetch("fsdd", tmp_path / "to", "tiny") == root
    assert len(server.ranges) == 1


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


def test_a_server_without_ranges_starts_over(tiny: Archive, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "fsdd" / "corpus.tar.gz"
    path.parent.mkdir()
    path.with_name("corpus.tar.gz.part").write_bytes(b"x" * 500)
    server.knows_ranges = False
    fetch.download(tiny, path)
    assert path.read_bytes() == server.content


def test_a_part_that_is_whole_is_taken(tiny: Archive, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "corpus.tar.gz"
    path.with_name("corpus.tar.gz.part").write_bytes(server.content)
    fetch.download(tiny, path)
    assert path.read_bytes() == server.content


def test_a_wrong_checksum_removes_the_file(tiny: Archive, server: Server, tmp_path: Path) -> None:
    server.content = server.content[:-1] + b"?"
    with pytest.raises(DataError, match="SHA-256"):
        fetch.fetch("fsdd", tmp_path)
    assert list((tmp_path / "fsdd").iterdir()) == []


def test_missing_recordings_are_noticed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.content = tar_bytes(trees.fsdd(tmp_path / "made"), "digits")
    monkeypatch.setitem(ARCHIVES, "fsdd", {"tiny": Archive(server.url, "", recordings=3000)})
    with pytest.raises(DataError, match="40 recordings, not 3000"):
        fetch.fetch("fsdd", tmp_path / "to")


def test_no_network_names_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RETRIES", 0)
    archive = Archive("http://127.0.0.1:9/corpus.tar.gz", "")
    with pytest.raises(EnvironmentFault, match="check the network"):
        fetch.download(archive, tmp_path / "corpus.tar.gz")


def test_unpack_refuses_entries_that_point_outside(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("../evil.txt")
        archive.addfile(entry, io.BytesIO())
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch.unpack(path, tmp_path / "to")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.tar.gz"]


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_unpack_refuses_damaged_archives(tmp_path: Path, keep: float) -> None:
    content = tar_bytes(trees.fsdd(tmp_path / "made"), "digits")
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DataError, match="remove it and fetch it again"):
        fetch.unpack(path, tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(("name", "subset"), [("common_voice", ""), ("timit", ""), ("librispeech", "train-x")])
def test_unknown_names_list_what_there_is(name: str, subset: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="there are"):
        fetch.fetch(name, tmp_path, subset)
