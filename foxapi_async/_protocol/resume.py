"""Decides how a download goes on after a cut. Bytes of two versions of a file are never mixed."""

import re
from email.utils import parsedate_to_datetime
from typing import Final

from msgspec import Struct

_CONTENT_RANGE: Final = re.compile(
    r"bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.IGNORECASE
)
_STRONG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
# Within a minute of a change, another change may have the same date (RFC 7232, 2.2.2).
_SETTLED_SECONDS: Final = 60.0

OK: Final = 200
PARTIAL: Final = 206
UNSATISFIABLE: Final = 416
PRECONDITION_FAILED: Final = 412


class Version(Struct, frozen=True, kw_only=True):
    """What the headers of a response say about the version of a file."""

    etag: str | None = None
    """The entity tag, weak or strong."""
    last_modified: str | None = None
    """The date of the last change, as it was sent."""
    date: str | None = None
    """The date of the response."""
    size: int | None = None
    """The size of the whole file in bytes, if it is known."""


class ResponseFacts(Struct, frozen=True, kw_only=True):
    """What a decision depends on in the headers of a response."""

    status: int
    version: Version
    """The headers of the version; ``size`` is that of the body."""
    content_range: str | None = None
    is_multipart: bool = False
    """Whether the body is ``multipart/byteranges``."""


class Receive(Struct, frozen=True):
    """Take the body: its first byte is byte ``offset`` of the file."""

    offset: int
    version: Version
    """The version of the file, with the size of all of it."""


class WholeFile(Struct, frozen=True):
    """The file is received already."""


class RequestAll(Struct, frozen=True):
    """Close the response and request the whole file, without a range."""

    reason: str


def validator(version: Version) -> str | None:
    """Return the value for ``If-Range``; ``None`` if nothing proves that a file is unchanged.

    A weak entity tag is no proof of equal bytes. A date is one if no entity tag was sent and the
    change was more than a minute before the response.
    """
    if version.etag is not None:
        return version.etag if _is_strong(version.etag) else None
    changed, now = _seconds(version.last_modified), _seconds(version.date)
    if changed is None or now is None or now - changed < _SETTLED_SECONDS:
        return None
    return version.last_modified


def range_headers(received: int, version: Version | None) -> dict[str, str]:
    """Return the headers that request what follows the first ``received`` bytes.

    None if nothing was received, or nothing proves that the file is the same.
    """
    proof = None if version is None else validator(version)
    if received == 0 or proof is None:
        return {}
    return {"Range": f"bytes={received}-", "If-Range": proof}


def decide_resume(  # noqa: PLR0911 one return for each case
    facts: ResponseFacts, *, received: int, version: Version | None, ranged: bool
) -> Receive | WholeFile | RequestAll | None:
    """Decide what a response is for a download of which ``received`` bytes are there.

    Args:
        facts: The response.
        received: The bytes that were received of this version of the file.
        version: The version that they are of; ``None`` before the first response.
        ranged: Whether the request had the headers of `range_headers`.

    Returns:
        What to do. ``None`` for a status that is an error.
    """
    if facts.status == OK:
        return Receive(0, facts.version)
    if facts.status == PARTIAL:
        if not ranged or version is None:
            return RequestAll("a part was sent and none was requested")
        return _part(facts, received, version)
    if facts.status == UNSATISFIABLE and ranged and version is not None:
        size = _total(facts.content_range)
        if size == received == version.size and _is_same(facts.version, version):
            return WholeFile()
        return RequestAll("the file is shorter than what was received")
    if facts.status == PRECONDITION_FAILED and ranged:
        return RequestAll("the file has changed")
    return None


def is_same_file(new: Version, old: Version | None) -> bool:
    """Tell whether two whole responses provably have the same bytes."""
    proof = None if old is None else validator(old)
    if old is None or proof is None or old.size != new.size:
        return False
    return new.etag == proof or (new.etag is None and new.last_modified == proof)


def _part(  # noqa: PLR0911 one return for each reason
    facts: ResponseFacts, received: int, version: Version
) -> Receive | RequestAll:
    if facts.is_multipart:
        return RequestAll("several parts were sent")
    found = _CONTENT_RANGE.fullmatch((facts.content_range or "").strip())
    if found is None or found[1] is None:
        return RequestAll("the part does not say where it belongs")
    first, last, total = int(found[1]), int(found[2]), _total(facts.content_range)
    if first != received or last < first or (total is not None and last >= total):
        return RequestAll("another part was sent than requested")
    if facts.version.size is not None and facts.version.size != last - first + 1:
        return RequestAll("the length of the part contradicts its range")
    if total is not None and version.size is not None and total != version.size:
        return RequestAll("the size of the file has changed")
    if not _is_same(facts.version, version):
        return RequestAll("the file has changed")
    size = total if total is not None else version.size
    return Receive(
        first,
        Version(
            etag=version.etag, last_modified=version.last_modified, date=version.date, size=size
        ),
    )


def _is_same(new: Version, old: Version) -> bool:
    """Tell whether no header of a response contradicts the version. ``If-Range`` is the proof."""
    if new.etag is not None and new.etag != old.etag:
        return False
    return new.last_modified is None or new.last_modified == old.last_modified


def _is_strong(etag: str) -> bool:
    return _STRONG.fullmatch(etag) is not None


def _total(content_range: str | None) -> int | None:
    found = _CONTENT_RANGE.fullmatch((content_range or "").strip())
    return int(found[3]) if found and found[3] != "*" else None


def _seconds(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date[:100]).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
