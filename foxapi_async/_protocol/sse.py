"""Event streams, as the WHATWG HTML standard defines them: bytes in, events out, and back."""

from typing import Final

from msgspec import Struct

from foxapi_async.errors import InvalidResponseError

_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = b"\n\n"
_LF: Final = 10
_CR: Final = 13
_EXCERPT_SIZE: Final = 400
# A longer number could not be a delay, and `int` refuses the longest.
_MAX_RETRY_DIGITS: Final = 18


class ServerEvent(Struct, frozen=True, gc=False):
    """One event. ``name`` is ``message`` if the frame had none, ``id`` the last that was sent."""

    name: str
    data: bytes
    id: str = ""


def encode_event(name: str, data: bytes) -> bytes:
    """Return the frame of one event; ``data`` with line ends becomes one ``data`` line each."""
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return b"event: %b\ndata: %b\n\n" % (name.encode(), lines)


class EventDecoder:
    """Reads an event stream, however the network cut it.

    ``retry`` is what the server last asked for, in milliseconds; nothing obeys it. A frame that is
    longer than ``limit`` bytes, its blank line included, ends the stream: ``error`` is set once the
    events before it have been returned, and nothing is returned after it. It is not raised, because
    the events of the same read would be lost with it.

    Time is linear in the bytes fed, whatever the size of the reads. No more than one read and
    ``limit`` bytes are kept.
    """

    __slots__ = ("_after_cr", "_bom_prefix", "_id", "_limit", "_partial", "error", "retry")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._bom_prefix: bytes | None = b""
        self._after_cr = False
        self._id = ""
        self.retry: int | None = None
        self.error: InvalidResponseError | None = None

    @property
    def pending(self) -> bool:
        """Whether a part of a frame is waiting for the rest; an end of the stream drops it."""
        return bool(self._partial or self._bom_prefix)

    @property
    def at_boundary(self) -> bool:
        """Whether the next byte begins a frame and could not mean anything else."""
        return not (self._partial or self._after_cr or self._bom_prefix is not None or self.error)

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take in ``data`` and return the events that it completes."""
        events = map(self.decode_frame, self.split_block(self.extract_block(data)))
        return [event for event in events if event is not None]

    def extract_block(self, data: bytes) -> bytes:
        """Take in ``data`` and return the frames that it completes, as one block.

        In a block every line ends in LF, and the last frame in a blank line; it is empty if no
        frame is complete.
        """
        if self._bom_prefix is not None:
            data = self._skip_bom(data)
        if self._after_cr or _CR in data:
            data = self._normalize_line_ends(data)
        if not data or self.error:
            return b""
        if not self._partial:
            if data[-2:] == _BLANK:
                return data
            data = data.lstrip(b"\n")
        return self._extract_partial(data)

    def _extract_partial(self, data: bytes) -> bytes:
        """Cut what does not begin and end with a frame, and park the rest."""
        parked = self._partial
        # Without a blank line in it, `end` is 1: where the frame ends if LF met LF across the cut.
        end = data.rfind(_BLANK) + 2
        if end == 1 and not (parked and parked[-1] == data[0] == _LF):
            end = 0
        block = data[:end]
        if parked and end:
            parked += block
            block = bytes(parked)
            parked.clear()
        parked += data[end:]
        if len(parked) >= self._limit:
            self._reject(bytes(parked[:_EXCERPT_SIZE]))
        return block

    def split_block(self, block: bytes) -> list[bytes]:
        """Return the frames of a block, without blank lines, up to one that is too long."""
        # Of an odd number of line ends, the last one is a blank line of its own.
        frames = [frame.removeprefix(b"\n") for frame in block.rstrip(b"\n").split(_BLANK)]
        if len(block) > self._limit:
            for number, frame in enumerate(frames):
                if len(frame) + len(_BLANK) > self._limit:
                    self._reject(frame[:_EXCERPT_SIZE])
                    return frames[:number]
        return frames

    def decode_frame(self, frame: bytes) -> ServerEvent | None:
        """Return the event of one frame, ``None`` if it has no ``data``."""
        name = b""
        data: list[bytes] = []
        for line in frame.split(b"\n"):
            field, _, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            elif field == b"id" and b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            elif field == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                self.retry = int(value)
        if not data:
            return None
        return ServerEvent(name.decode("utf-8", "replace") or "message", b"\n".join(data), self._id)

    def _skip_bom(self, data: bytes) -> bytes:
        """Drop one byte order mark at the very start, wherever it was cut."""
        start = (self._bom_prefix or b"") + data
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._bom_prefix = start
            return b""
        self._bom_prefix = None
        return start.removeprefix(_BOM)

    def _normalize_line_ends(self, data: bytes) -> bytes:
        """Turn CR LF and CR into LF. A CR at the end counts at once, and an LF after it no more."""
        if not data:
            return data
        if self._after_cr and data[0] == _LF:
            data = data[1:]
            self._after_cr = False
            if not data:
                return data
        self._after_cr = data[-1] == _CR
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _reject(self, head: bytes) -> None:
        self._partial.clear()
        self.error = InvalidResponseError(
            f"the stream sent a frame of more than limits.max_event_bytes = {self._limit} bytes",
            body=head.decode("utf-8", "replace"),
        )
