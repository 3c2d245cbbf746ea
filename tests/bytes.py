"""Damaged copies of a file's bytes, for every reader's test: cut anywhere, changed anywhere, or anything at all."""

from hypothesis import strategies as st

TOXIC = [b"\0", b"\n", b"\r", b'"', b",", b"\t", b"\xff\xfe", b"\xef\xbb\xbf", b"NaN", b"1e999", b"/" * 300, b"!" * 300]
TOXIC += [b"[" * 2000, b'{"a":' * 2000, b"9" * 5000, b"\xff" * 8, b"\xff\xff\xff\x7f"]


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """Bytes near `whole`, and any others."""
    return st.binary(max_size=200) | st.builds(
        _damage,
        st.just(whole),
        st.integers(0, len(whole)),
        st.lists(st.tuples(st.integers(0, len(whole)), st.sampled_from(TOXIC) | st.binary(max_size=3), st.booleans())),
    )


def _damage(whole: bytes, cut: int, changes: list[tuple[int, bytes, bool]]) -> bytes:
    content = whole if changes else whole[:cut]
    for place, piece, replaces in changes:
        content = content[:place] + piece + content[place + len(piece) * replaces :]
    return content
