"""Which bytes of a file a GET asks for: the rules of ``Range`` and of conditions (RFC 9110)."""

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes=[ \t]*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))[ \t]*", re.ASCII)
_ETAG: Final = re.compile(r'(?:W/)?"[^"]*"')


class Selection(NamedTuple):
    """What a response to a GET has."""

    status: int
    """The HTTP status: 200, 206, 304 or 416."""
    start: int = 0
    """The first byte."""
    stop: int = 0
    """The byte after the last one."""


class Conditions(NamedTuple):
    """The headers of a GET that choose among its bytes; ``None`` for one that is absent."""

    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None


def select(conditions: Conditions, *, size: int, etag: str, modified: float) -> Selection:
    """Return which bytes of a file are sent.

    A header that is malformed, or a range of several parts, is ignored, as the standard wants.

    Args:
        conditions: The headers of the request.
        size: The size of the file.
        etag: The entity tag of the file, in quotes.
        modified: When the file was stored, in Unix seconds.
    """
    if _is_unchanged(conditions, etag, modified):
        return Selection(304)
    whole = Selection(200, 0, size)
    found = _RANGE.fullmatch(conditions.range or "")
    if found is None or not _applies(conditions.if_range, etag, modified):
        return whole
    if found[3] is not None:
        length = min(int(found[3]), size)
        return Selection(206, size - length, size) if length else Selection(416)
    start = int(found[1])
    stop = min(int(found[2]) + 1, size) if found[2] else size
    if found[2] and int(found[2]) < start:
        return whole
    return Selection(206, start, stop) if start < size else Selection(416)


def http_date(unix: float) -> str:
    """Return a time as headers have it."""
    return format_datetime(datetime.fromtimestamp(int(unix), UTC), usegmt=True)


def _is_unchanged(conditions: Conditions, etag: str, modified: float) -> bool:
    if conditions.if_none_match is not None:
        tags = _ETAG.findall(conditions.if_none_match)
        return conditions.if_none_match.strip() == "*" or etag in {
            tag.removeprefix("W/") for tag in tags
        }
    since = _seconds(conditions.if_modified_since)
    return since is not None and int(modified) <= since


def _applies(if_range: str | None, etag: str, modified: float) -> bool:
    """Tell whether a range may be sent: the file is the one that the client has a part of."""
    if if_range is None:
        return True
    value = if_range.strip()
    # A weak tag proves no equal bytes.
    return value == etag or _seconds(value) == int(modified)


def _seconds(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (OverflowError, TypeError, ValueError):
        return None
