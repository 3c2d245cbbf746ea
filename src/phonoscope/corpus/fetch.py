"""Download of the freely licensed corpora: resumable, with checksums, unpacked safely."""

import gzip
import hashlib
import logging
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from phonoscope.errors import DataError, EnvironmentFault, ParamsError
from phonoscope.files import atomic_dir

log = logging.getLogger(__name__)

RETRIES = 5
TIMEOUT_S = 60
CHUNK_BYTES = 1 << 20
MAX_MEMBERS = 1_000_000  # Speech Commands has 105,829 recordings, LibriSpeech's train-other-500 148,688
MAX_UNPACKED_BYTES = 100 * 10**9  # train-other-500 has 30 GB
MAX_EXPANSION = 20  # speech does not become half as small: FLAC is packed already, 16-bit samples are nearly noise
SMALL_BYTES = 16 << 20  # so much may come out of any archive: a small one is padding and headers mostly
MAX_HEADER_BYTES = 1 << 20  # tarfile reads a header whole, however long it says it is; data come in smaller pieces

_LIBRISPEECH = "http://www.openslr.org/resources/12/"
_SPEECH_COMMANDS = "http://download.tensorflow.org/data/speech_commands_"
_FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/"


@dataclass(frozen=True)
class Archive:
    """One file to fetch. GitHub publishes no checksum of its archives, so FSDD's `sha256` is empty."""

    url: str
    sha256: str
    recordings: int = 0  # that the unpacked corpus must have; 0 where the checksum is enough


# corpus -> subset -> archive; the first subset is the default. URLs and SHA-256 are those of torchaudio.datasets.
ARCHIVES: dict[str, dict[str, Archive]] = {
    "fsdd": {"v1.0.10": Archive(f"{_FSDD}v1.0.10.tar.gz", "", recordings=3_000)},
    "librispeech": {
        name: Archive(f"{_LIBRISPEECH}{name}.tar.gz", sha256)
        for name, sha256 in (
            ("train-clean-100", "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
            ("train-clean-360", "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
            ("train-other-500", "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
            ("dev-clean", "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
            ("dev-other", "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
            ("test-clean", "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
            ("test-other", "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
        )
    },
    "speech_commands": {
        name: Archive(f"{_SPEECH_COMMANDS}{name}.tar.gz", sha256)
        for name, sha256 in (
            ("v0.02", "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"),
            ("v0.01", "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d"),
        )
    },
}


def find_archive(name: str, subset: str) -> Archive:
    """The archive of a corpus's subset, by default the first. Raises `ParamsError` naming the known ones."""
    if name not in ARCHIVES:
        raise ParamsError(
            f"cannot fetch {name!r}; there are {', '.join(ARCHIVES)}. Common Voice must be downloaded by hand "
            "(it asks for consent); see docs/corpora.md"
        )
    subsets = ARCHIVES[name]
    if subset and subset not in subsets:
        raise ParamsError(f"{name} has no subset {subset!r}; there are {', '.join(subsets)}")
    return subsets[subset or next(iter(subsets))]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stream(url: str, part: Path) -> None:
    """Append the missing bytes to `part`. A server without ranges sends the whole file again."""
    there = part.stat().st_size if part.exists() else 0
    with requests.Session() as session:
        session.mount(url, HTTPAdapter(max_retries=Retry(total=RETRIES, backoff_factor=1, status_forcelist=[502, 503])))
        headers = {"Range": f"bytes={there}-", "Accept-Encoding": "identity"}
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable and there:
                return  # the part is whole already
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            length = int(response.headers.get("Content-Length", 0)) + there * resumed or None
            with (
                part.open("ab" if resumed else "wb") as file,
                tqdm(total=length, initial=there * resumed, unit="B", unit_scale=True, disable=None) as bar,
            ):
                for chunk in response.iter_content(CHUNK_BYTES):
                    bar.update(file.write(chunk))


def download(archive: Archive, path: Path) -> None:
    """Fetch `archive` to `path`, continuing an earlier try (`<path>.part`), and check its SHA-256.

    Raises: `EnvironmentFault` if network or disk fail (what came is kept), `DataError` if the checksum differs.
    """
    if path.is_file() and archive.sha256 in ("", _sha256(path)):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        _stream(archive.url, part)
    except (requests.RequestException, OSError) as error:
        raise EnvironmentFault(
            f"{archive.url}: {error}; check the network and the disk and run the same command again, it goes on from "
            f"{part}. Or fetch the file by hand to {path}"
        ) from error
    if archive.sha256 and (digest := _sha256(part)) != archive.sha256:
        part.unlink()
        raise DataError(f"{archive.url}: SHA-256 is {digest}, not {archive.sha256}; removed, try again")
    part.replace(path)


class _BoundedGzip(gzip.GzipFile):
    """A gzip stream that refuses to be read beyond `limit` unpacked bytes, or much at once."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path, "rb")
        self._limit = limit

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes, more than {MAX_HEADER_BYTES:,}")
        content = super().read(size)
        _refuse_beyond(self._limit, self.tell())
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        _refuse_beyond(self._limit, offset)
        return super().seek(offset, whence)


def _refuse_beyond(limit: int, unpacked: int) -> None:
    if unpacked > limit:
        raise tarfile.ReadError(f"it unpacks to more than {limit:,} bytes, too many for a corpus of its size")


def _bounded_members(archive: tarfile.TarFile, limit: int) -> Iterator[tarfile.TarInfo]:
    """The members one by one, as long as their number and the sizes they declare are plausible."""
    declared = 0
    for number, member in enumerate(archive, 1):
        declared += member.size
        _refuse_beyond(limit, declared)
        if number > MAX_MEMBERS:
            raise tarfile.ReadError(f"more than {MAX_MEMBERS:,} members")
        yield member


def unpack(path: Path, folder: Path) -> None:
    """Unpack a `.tar.gz`; entries that point out of `folder`, devices and the like are refused.

    The size and number of members are bounded. On refusal nothing is left.
    Raises: `DataError` if the archive is damaged or holds too much; `EnvironmentFault` if the disk does not take it.
    """
    limit = min(MAX_UNPACKED_BYTES, max(SMALL_BYTES, MAX_EXPANSION * path.stat().st_size))
    with atomic_dir(folder) as temporary:
        try:
            with _BoundedGzip(path, limit) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
                archive.extractall(temporary, _bounded_members(archive, limit), filter="data")
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
            raise DataError(f"{path}: cannot be unpacked ({error}); remove it and fetch it again") from error
        except OSError as error:
            raise EnvironmentFault(f"{path}: cannot be unpacked into {folder} ({error}); check the disk") from error


def fetch(name: str, destination: Path, subset: str = "") -> Path:
    """Download and unpack a corpus below `destination`; return the folder to give as `corpus.root`.

    `name` is a key of `ARCHIVES`, `subset` one of its archives (default: the first). What is there already is kept.
    Raises: `ParamsError` for an unknown name, `EnvironmentFault` and `DataError` as `download` and `unpack` do.
    """
    archive = find_archive(name, subset)
    path = destination / name / archive.url.rsplit("/", 1)[-1]
    folder = path.with_name(path.name.removesuffix(".tar.gz"))
    if not folder.is_dir():
        download(archive, path)
        unpack(path, folder)
        path.unlink()
    inside = sorted(folder.iterdir())  # often one folder that wraps the content
    root = inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
    recordings = sum(1 for _ in root.rglob("*.wav")) if archive.recordings else 0
    if recordings != archive.recordings:
        reason = f"{recordings} recordings, not {archive.recordings}"
        raise DataError(f"{root}: {reason}; remove the folder and fetch it again")
    log.info("%s lies in %s", name, root)
    return root
