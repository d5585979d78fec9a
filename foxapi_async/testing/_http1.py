"""Finds the ends of HTTP/1.1 messages and the positions of faults in them, without I/O."""

import re
from collections.abc import Iterable
from enum import Enum, auto

from foxapi_async.testing.faults import WHOLE, Close, Fraction, Position, Reset, Stall

Placed = Reset | Close | Stall

# The beginning of a request line. A TLS ClientHello does not match.
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?: |\Z)")
_REQUEST_LINE_WORDS = 3
_INTERIM = range(100, 200)
_SWITCHING_PROTOCOLS = 101
_BODILESS = (204, 304)


class _State(Enum):
    HEAD = auto()
    SIZED = auto()
    CHUNKS = auto()
    TRAILER = auto()
    UNTIL_EOF = auto()
    DONE = auto()


class MessageReader:
    """Parses one message, which may arrive in pieces of any size.

    ``size`` is the number of bytes so far, ``body_at`` the position of the body and ``length`` the
    length of the whole message, or ``None`` while they are unknown. Bytes that are not HTTP are
    ``opaque`` and end with the connection.
    """

    __slots__ = (
        "_left",
        "_line",
        "_response_to",
        "_state",
        "body_at",
        "head",
        "length",
        "opaque",
        "size",
    )

    def __init__(self, *, response_to: str | None = None) -> None:
        """Read a request, or the response to a request of this method."""
        self.head = b""
        self.size = 0
        self.body_at: int | None = None
        self.length: int | None = None
        self.opaque = False
        self._response_to = response_to
        self._state = _State.HEAD
        self._line = b""
        self._left: int = 0

    @property
    def complete(self) -> bool:
        """Whether the last byte of the message has been read."""
        return self._state is _State.DONE

    @property
    def until_eof(self) -> bool:
        """Whether the message ends with the connection."""
        return self._state is _State.UNTIL_EOF

    def feed(self, data: bytes) -> int:
        """Read more bytes; return how many of them belong to this message."""
        at = 0
        while at < len(data) and self._state is not _State.DONE:
            before = at
            if self._state is _State.UNTIL_EOF:
                at = len(data)
            elif self._left:
                at += min(self._left, len(data) - at)
                self._left -= at - before
            else:
                at = data.find(b"\n", at) + 1 or len(data)
                self._line += data[before:at]
            self.size += at - before
            self._advance()
        return at

    def _advance(self) -> None:
        if self._state is _State.SIZED and not self._left:
            self._state = _State.DONE
        elif self._line:
            if self._state is _State.HEAD and not self.head and not self._is_http():
                self._set_opaque()
            elif self._line.endswith(b"\n"):
                line, self._line = self._line, b""
                self._read_line(line)

    def _is_http(self) -> bool:
        if self._response_to is not None:
            return self._line[:5] == b"HTTP/"[: len(self._line)]
        if not self._line.strip(b"\r\n"):
            return True
        if not self._line.endswith(b"\n"):
            return _METHOD.match(self._line) is not None
        words = self._line.split()
        return len(words) == _REQUEST_LINE_WORDS and words[2].startswith(b"HTTP/1.")

    def _set_opaque(self) -> None:
        self.opaque = True
        self._line = b""
        self._state = _State.UNTIL_EOF

    def _read_line(self, line: bytes) -> None:
        blank = not line.strip()
        if self._state is _State.TRAILER:
            if blank:
                self._state = _State.DONE
        elif self._state is _State.CHUNKS:
            try:
                self._begin_chunk(int(line.split(b";")[0], 16))
            except ValueError:
                self._set_opaque()
        elif not blank:
            self.head += line
        elif self.head:
            self.head += line
            try:
                self._end_head()
            except (ValueError, IndexError):
                self._set_opaque()

    def _begin_chunk(self, size: int) -> None:
        if size < 0:
            raise ValueError(size)
        if size:
            self._left = size + len(b"\r\n")
        else:
            self._state = _State.TRAILER

    def _end_head(self) -> None:
        first, *lines = self.head.split(b"\n")
        bodiless = False
        if self._response_to is not None:
            status = int(first.split()[1])
            if status in _INTERIM and status != _SWITCHING_PROTOCOLS:
                self.head = b""
                return
            bodiless = self._response_to == "HEAD" or status in _BODILESS
        fields = {
            name.strip().lower(): value.strip().lower()
            for name, _, value in (line.partition(b":") for line in lines)
        }
        self.body_at = self.size
        length = fields.get(b"content-length")
        if bodiless:
            self.length, self._state = self.size, _State.DONE
        elif fields.get(b"transfer-encoding", b"").endswith(b"chunked"):
            self._state = _State.CHUNKS
        elif length is not None or self._response_to is None:
            self._left = int(length or b"0")
            if self._left < 0:
                raise ValueError(length)
            self.length = self.size + self._left
            self._state = _State.SIZED if self._left else _State.DONE
        else:
            self._state = _State.UNTIL_EOF


class FaultCursor:
    """Finds the faults of one message as its bytes pass."""

    __slots__ = ("_overlap", "_pending", "_tail", "reader")

    def __init__(self, reader: MessageReader, faults: Iterable[Placed]) -> None:
        self.reader = reader
        self._pending = list(faults)
        markers = [at for at in map(_position, self._pending) if isinstance(at, bytes)]
        self._overlap = max((len(marker) - 1 for marker in markers), default=0)
        self._tail = b""

    def feed(self, data: bytes) -> tuple[int, list[tuple[int, Placed]]]:
        """Return how many bytes of ``data`` belong to the message, and the faults among them.

        Each fault is returned once, in the order of the positions, with the number of bytes of
        ``data`` before it.
        """
        start = self.reader.size
        used = self.reader.feed(data)
        if not self._pending:
            return used, []
        window = self._tail + data[:used]
        found: list[tuple[int, Placed]] = []
        for fault in tuple(self._pending):
            place = self._find(fault, window)
            if place is not None and place <= self.reader.size:
                found.append((max(place - start, 0), fault))
                self._pending.remove(fault)
        self._tail = window[-self._overlap :] if self._overlap else b""
        found.sort(key=lambda point: point[0])
        return used, found

    def end(self) -> list[Placed]:
        """Return the faults at the end of a message that ends here, even if it is incomplete."""
        return [fault for fault in self._pending if _position(fault) == WHOLE]

    def _find(self, fault: Placed, window: bytes) -> int | None:
        reader, position = self.reader, _position(fault)
        base = 0 if fault.body is None else reader.body_at
        if base is None:
            return None
        if isinstance(position, int):
            return base + position
        if isinstance(position, bytes):
            window_at = reader.size - len(window)
            at = window.find(position, max(base - window_at, 0))
            return None if at < 0 else window_at + at + len(position)
        if reader.length is not None:
            return base + int(position.part * (reader.length - base))
        if position == WHOLE:
            return reader.size if reader.complete else None
        if reader.body_at is None and not reader.opaque:
            return None
        raise ValueError(f"{fault!r} needs a Content-Length: this message has none")


def _position(fault: Placed) -> Position:
    given = [at for at in (fault.request, fault.response, fault.body) if at is not None]
    position: int | bytes | Fraction = given[0]
    return position


def strip_query(head: bytes, name: str) -> bytes:
    """Return the head of a request without one query parameter."""
    line, end, rest = head.partition(b"\r\n")
    method, target, version = line.split(b" ", 2)
    path, _, query = target.partition(b"?")
    kept = [pair for pair in query.split(b"&") if pair.partition(b"=")[0] != name.encode()]
    target = path + (b"?" + b"&".join(kept) if any(kept) else b"")
    return b" ".join((method, target, version)) + end + rest
