"""Decodes and encodes event streams by the WHATWG HTML standard."""

from typing import Final

from msgspec import Struct

from foxapi_async._wire.error_body import EXCERPT_LENGTH
from foxapi_async.errors import InvalidResponseError

_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = b"\n\n"
LF: Final = 10
CR: Final = 13


class ServerEvent(Struct, frozen=True, gc=False):
    """One event. ``name`` is ``message`` if the frame names none."""

    name: str
    data: bytes


def encode_event(name: str, data: bytes) -> bytes:
    """Return the frame of one event; ``data`` with line ends becomes one ``data`` line each."""
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return b"event: %b\ndata: %b\n\n" % (name.encode(), lines)


def decode_frame(frame: bytes) -> ServerEvent | None:
    """Return the event of one frame; ``None`` if the frame has no ``data``."""
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
    if not data:
        return None
    return ServerEvent(name.decode("utf-8", "replace") or "message", b"\n".join(data))


class EventDecoder:
    """Decodes an event stream that arrives in reads of any size.

    The fields ``id`` and ``retry`` are ignored: a stream is resumed by its offset, and retried by
    the policy of the session. A frame of more than ``limit`` bytes, its blank line included, ends
    the stream: ``error`` is set after the events before it are returned, and later calls return
    nothing. The error is not raised, because the other events of the same read would be lost.

    The time is linear in the number of bytes, whatever the size of the reads. The memory is bounded
    by one read and ``limit`` bytes.
    """

    __slots__ = ("_after_cr", "_bom_prefix", "_limit", "_partial", "error")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._bom_prefix: bytes | None = b""
        self._after_cr = False
        self.error: InvalidResponseError | None = None

    @property
    def at_boundary(self) -> bool:
        """Whether the next byte begins a frame."""
        return not (self._partial or self._after_cr or self._bom_prefix is not None or self.error)

    @property
    def rest(self) -> bytes:
        """The frame that the end of the stream left without its blank line.

        The standard drops it.
        """
        return bytes(self._partial)

    def extract_block(self, data: bytes) -> bytes:
        """Add ``data`` and return the frames that it completes, as one block.

        In a block every line ends in LF, and the last frame ends in a blank line. The block is
        empty if no frame is complete.
        """
        if self._bom_prefix is not None:
            data = self._skip_bom(data)
        if self._after_cr or CR in data:
            data = self._normalize_line_ends(data)
        if not data or self.error:
            return b""
        if not self._partial:
            if data[-2:] == _BLANK:
                return data
            data = data.lstrip(b"\n")
        return self._extract_partial(data)

    def _extract_partial(self, data: bytes) -> bytes:
        """Extract the complete frames of partial data, and keep the rest."""
        partial = self._partial
        # Without a blank line in `data`, `end` is 1. It is right if one LF ends each side of the
        # cut.
        end = data.rfind(_BLANK) + 2
        if end == 1 and not (partial and partial[-1] == data[0] == LF):
            end = 0
        block = data[:end]
        if partial and end:
            partial += block
            block = bytes(partial)
            partial.clear()
        partial += data[end:]
        if len(partial) >= self._limit:
            self._reject(bytes(partial[:EXCERPT_LENGTH]))
        return block

    def split_block(self, block: bytes) -> list[bytes]:
        """Return the frames of a block without blank lines, up to the first that is too long."""
        # If the number of line ends is odd, the last one is a blank line of its own.
        frames = [frame.removeprefix(b"\n") for frame in block.rstrip(b"\n").split(_BLANK)]
        if len(block) > self._limit:
            for number, frame in enumerate(frames):
                if len(frame) + len(_BLANK) > self._limit:
                    self._reject(frame[:EXCERPT_LENGTH])
                    return frames[:number]
        return frames

    def _skip_bom(self, data: bytes) -> bytes:
        """Drop a byte order mark at the start of the stream, even if it is split between reads."""
        start = (self._bom_prefix or b"") + data
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._bom_prefix = start
            return b""
        self._bom_prefix = None
        return start.removeprefix(_BOM)

    def _normalize_line_ends(self, data: bytes) -> bytes:
        """Replace CR LF and CR by LF. A CR at the end counts at once; an LF after it is dropped."""
        if not data:
            return data
        if self._after_cr and data[0] == LF:
            data = data[1:]
            self._after_cr = False
            if not data:
                return data
        self._after_cr = data[-1] == CR
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _reject(self, head: bytes) -> None:
        self._partial.clear()
        self.error = InvalidResponseError(
            f"the stream sent a frame of more than limits.max_event_bytes = {self._limit} bytes",
            body=head.decode("utf-8", "replace"),
        )
