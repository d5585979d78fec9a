"""Laws of resuming a download: the bytes of two versions are never mixed."""

from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foxapi_async._protocol.resume import (
    Receive,
    RequestAll,
    ResponseFacts,
    Version,
    WholeFile,
    decide_resume,
    is_same_file,
    range_headers,
    validator,
)

EARLY = "Fri, 01 Jan 2027 10:00:00 GMT"
LATE = "Fri, 01 Jan 2027 12:00:00 GMT"
STRONG = Version(etag='"a"', size=100, date=LATE)

Proof = Literal["strong", "weak", "date", "none"]
Quirk = Literal["none", "ignores range", "ignores if-range", "no total", "416", "moves", "412"]


class SimulatedServer:
    """Serves one of several versions of a file as HTTP says, or with a quirk."""

    def __init__(self, versions: list[bytes], proof: Proof, quirks: Iterator[Quirk]) -> None:
        self.versions = versions
        self.proof = proof
        self.quirks = quirks
        self.current = 0

    def version(self) -> Version:
        """Return the headers of the current version."""
        number = self.current
        if self.proof in {"strong", "weak"}:
            return Version(etag=f'{"W/" if self.proof == "weak" else ""}"v{number}"', date=LATE)
        if self.proof == "date":
            return Version(last_modified=f"Fri, 01 Jan 2027 10:{number:02}:00 GMT", date=LATE)
        return Version(date=LATE)

    def get(self, headers: dict[str, str]) -> tuple[ResponseFacts, bytes]:
        """Answer one request."""
        content, version, quirk = self.versions[self.current], self.version(), next(self.quirks)
        whole = ResponseFacts(status=200, version=replace(version, size=len(content))), content
        if "Range" not in headers or quirk == "ignores range":
            return whole
        is_same = headers["If-Range"] in {version.etag, version.last_modified}
        if not is_same and quirk == "412":
            return ResponseFacts(status=412, version=version), b""
        if not is_same and quirk != "ignores if-range":
            return whole
        start = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(content) or quirk == "416":
            return ResponseFacts(
                status=416, version=version, content_range=f"bytes */{len(content)}"
            ), b""
        start = max(0, start - 1) if quirk == "moves" else start
        part, total = content[start:], "*" if quirk == "no total" else str(len(content))
        return ResponseFacts(
            status=206,
            version=replace(version, size=len(part)),
            content_range=f"bytes {start}-{len(content) - 1}/{total}",
        ), part


@given(
    versions=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4),
    proof=st.sampled_from(["strong", "weak", "date", "none"]),
    quirks=st.lists(
        st.sampled_from(
            ["none", "ignores range", "ignores if-range", "no total", "416", "moves", "412"]
        ),
        max_size=8,
    ),
    cuts=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=12),
)
def test_a_download_is_one_version_of_the_file(
    versions: list[bytes],
    proof: Proof,
    quirks: list[Quirk],
    cuts: list[tuple[int, bool]],
) -> None:
    """After any cuts, changes and quirks of the server, the bytes are those of one version."""

    def endless() -> Iterator[Quirk]:
        yield from quirks
        while True:
            yield "none"

    server = SimulatedServer(versions, proof, endless())
    received, version, ranged = b"", None, True
    cut = iter(cuts)
    for _ in range(60):
        headers = range_headers(len(received), version) if ranged else {}
        facts, body = server.get(headers)
        decision = decide_resume(
            facts, received=len(received), version=version, ranged=bool(headers)
        )
        if isinstance(decision, WholeFile):
            break
        if not isinstance(decision, Receive):
            assert isinstance(decision, RequestAll)
            ranged = False
            continue
        ranged = True
        at, changes = next(cut, (len(body), False))
        received, version = received[: decision.offset] + body[:at], decision.version
        is_whole = at >= len(body)
        if changes:
            server.current = (server.current + 1) % len(versions)
        if is_whole:
            break
    assert received in versions


@pytest.mark.parametrize(
    ("version", "proof"),
    [
        (Version(etag='"a"'), '"a"'),
        (Version(etag='W/"a"'), None),
        (Version(etag="a"), None),
        (Version(etag='W/"a"', last_modified=EARLY, date=LATE), None),
        (Version(last_modified=EARLY, date=LATE), EARLY),
        (Version(last_modified=EARLY), None),
        (Version(last_modified=LATE, date=LATE), None),
        (Version(last_modified="yesterday", date=LATE), None),
        (Version(last_modified="Fri, 99 Jan 2027 10:00:00 GMT", date=LATE), None),
        (Version(etag='"a\r\nX: y"'), None),
        (Version(), None),
    ],
)
def test_only_a_strong_validator_proves_a_version(version: Version, proof: str | None) -> None:
    """A strong entity tag proves a version, a date only if it is old and alone."""
    assert validator(version) == proof


def test_nothing_is_asked_for_without_proof() -> None:
    """Without a proof, or without bytes, the whole file is requested."""
    assert range_headers(10, Version(etag='W/"a"')) == {}
    assert range_headers(0, STRONG) == {}
    assert range_headers(10, STRONG) == {"Range": "bytes=10-", "If-Range": '"a"'}


@pytest.mark.parametrize(
    ("changes", "content_range"),
    [
        ({}, None),
        ({}, "bytes */100"),
        ({}, "bytes 10-99/100"),
        ({}, "bytes 50-99/101"),
        ({}, "bytes 50-100/100"),
        ({}, "bytes 50-40/100"),
        ({}, "items 50-99/100"),
        ({"etag": '"b"'}, "bytes 50-99/100"),
        ({"etag": 'W/"a"'}, "bytes 50-99/100"),
        ({"last_modified": EARLY}, "bytes 50-99/100"),
        ({"size": 49}, "bytes 50-99/100"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(
    changes: dict[str, object], content_range: str | None
) -> None:
    """A part of another place, size or version makes the download start again."""
    version = replace(Version(etag='"a"', size=50), **changes)
    facts = ResponseFacts(status=206, version=version, content_range=content_range)
    decision = decide_resume(facts, received=50, version=STRONG, ranged=True)
    assert isinstance(decision, RequestAll)


def test_a_part_that_fits_is_received() -> None:
    """The part that was requested goes behind what was received."""
    facts = ResponseFacts(
        status=206, version=Version(etag='"a"', size=50), content_range="bytes 50-99/100"
    )
    decision = decide_resume(facts, received=50, version=STRONG, ranged=True)
    assert decision == Receive(50, STRONG)


def test_a_multipart_answer_is_refused() -> None:
    """``multipart/byteranges`` is not the part that was requested."""
    facts = ResponseFacts(
        status=206, version=Version(etag='"a"'), content_range="bytes 50-99/100", is_multipart=True
    )
    assert isinstance(decide_resume(facts, received=50, version=STRONG, ranged=True), RequestAll)


@pytest.mark.parametrize("status", [204, 301, 403, 404, 500])
def test_other_statuses_are_errors(status: int) -> None:
    """Every other status is no content."""
    facts = ResponseFacts(status=status, version=Version())
    assert decide_resume(facts, received=5, version=STRONG, ranged=True) is None


def test_a_whole_answer_is_the_same_file_only_with_proof() -> None:
    """Two whole answers are one file if a strong validator and the size agree."""
    assert is_same_file(STRONG, STRONG)
    assert not is_same_file(replace(STRONG, etag='"b"'), STRONG)
    assert not is_same_file(replace(STRONG, size=99), STRONG)
    assert not is_same_file(Version(size=5), Version(size=5))
    assert not is_same_file(STRONG, None)
