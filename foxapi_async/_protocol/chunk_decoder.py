"""The chunk layer of a stream: bytes in, deltas out (contract §5.2, §6)."""

from collections.abc import Sequence
from typing import Final

from msgspec import DecodeError

from foxapi_async._protocol.halves import Halves
from foxapi_async._protocol.sse import EventDecoder
from foxapi_async._wire.chunk import (
    Delta,
    StreamDone,
    StreamErrorEvent,
    delta_decoder,
    done_decoder,
    error_decoder,
    halved_deltas,
)
from foxapi_async._wire.error_body import read_error
from foxapi_async.errors import FoxAPIError, InvalidResponseError

_FOXAPI: Final = b"event: chunk\ndata: "
_CHUNK_NAMES: Final = frozenset({"chunk", "message"})
_HEAD: Final = 400
_BLANK: Final = frozenset({b"", b"null"})
_HALF: Final = b"\\ud"
_LF: Final = 10
_CR: Final = 13
_FEWEST_TOLERANT: Final = 8
_MOST_TOLERANT: Final = 1024
# What the bare decoder raises; `deltas.read` makes one `DecodeError` of it.
_UNREADABLE: Final = (DecodeError, RecursionError, UnicodeDecodeError)
_decode: Final = delta_decoder.strict


class ChunkDecoder:
    """Reads the chunks of a stream, in FoxAPI's named events or as bare ``data`` with ``[DONE]``.

    ``blanks`` counts the chunk events without a chunk, as ``null`` or no data at all, which some
    send to keep a connection open. ``starts_over`` says that the stream can only be read or counted
    from its first chunk: for these blanks, or because a character was cut in two.

    When the stream has ``ended``, one of three says how: ``done`` is the normal end, ``fault`` the
    service's word that the task failed, ``error`` a frame that cannot be read. It is set when the
    deltas before it are returned, and nothing after it is. A frame has at most ``limit`` bytes.

    Tiers, from the usual to the general; each may decline, and the next is always right:

    0. A read that is one frame of the usual shape: compare both ends, decode the middle.
    1. Any number of frames, all of the usual shape: split them where one ends and the next begins.
       That no line end is left in any piece proves the split.
    2. Frame by frame: the usual shape, or the rules of the event stream format.

    The usual shape is what stands before the JSON: FoxAPI's ``event`` and ``data``, until tier 2
    meets another. Before tier 1, CR and CR LF become LF and a frame in pieces is joined, once, so
    they stay quick. All tiers use the quick decoder, which fails on members that `Delta` does not
    know; such a chunk is read again with them, and so are the next ones before the quick decoder is
    tried again: the more often it fails, the later.
    """

    __slots__ = (
        "_events",
        "_halves",
        "_joint",
        "_limit",
        "_patience",
        "_prefix",
        "_ready",
        "_size",
        "_tolerant",
        "blanks",
        "done",
        "ended",
        "error",
        "fault",
    )

    def __init__(self, limit: int) -> None:
        self._events = EventDecoder(limit)
        self._halves = Halves()
        self.blanks = 0
        self._limit = limit
        # Whether tier 0 may try: a frame begins with the next byte, and the stream goes on.
        self._ready = False
        # For how many chunks the quick decoder is not tried, now and after it fails again.
        self._tolerant = 0
        self._patience = _FEWEST_TOLERANT
        self._expect(_FOXAPI)
        self.ended = False
        self.done: StreamDone | None = None
        self.fault: StreamErrorEvent | None = None
        self.error: FoxAPIError | None = None

    @property
    def pending(self) -> bool:
        """Whether a part of a frame is waiting: if the stream ended now, it was cut."""
        return not self.ended and self._events.pending

    @property
    def starts_over(self) -> bool:
        """Whether another connection has to begin with the first chunk."""
        return self.blanks > 0 or self._halves.were_cut

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Take in ``data`` and return the deltas that it completes."""
        if self._ready:
            chunk = data.removeprefix(self._prefix).removesuffix(b"\n\n")
            size = len(data)
            # Numbers, because looking for `b"\n"` costs eight times as much (PERF §0).
            if (
                size - len(chunk) == self._size + 2
                and _LF not in chunk
                and _CR not in chunk
                and size <= self._limit
            ):
                try:
                    return (_decode(chunk),)
                except _UNREADABLE:
                    pass
        return () if self.ended else self._feed(data)

    def _feed(self, data: bytes) -> Sequence[Delta]:
        """Read by tiers 1 and 2."""
        events = self._events
        block = events.cut(data)
        chunks = self._read_alike(block) if block else ()
        if chunks is None:
            chunks = self._read_each(block)
        if events.error and not self.ended:
            self._end(error=events.error)
        if self._ready or events.at_boundary:
            self._ready = events.at_boundary and not self.ended and not self._tolerant
        return chunks

    def _read_alike(self, block: bytes) -> Sequence[Delta] | None:
        """Decode frames that are all of the usual shape; ``None`` if they are not."""
        if block[: self._size] != self._prefix or self._tolerant or len(block) > self._limit:
            return None
        chunks = block[self._size : -2].split(self._joint)
        if _LF in b"".join(chunks):
            return None
        try:
            return list(map(_decode, chunks))
        except _UNREADABLE:
            return None

    def _read_each(self, block: bytes) -> Sequence[Delta]:
        """Read frame by frame, up to the end of the stream."""
        read: list[Delta] = []
        for frame in self._events.frames(block):
            before, prefix, data = frame.partition(self._prefix)
            if prefix and _LF not in data and _says_nothing(before):
                delta = self._read_chunk(data)
            else:
                delta = self._read_frame(frame)
            if delta is not None:
                read.append(delta)
            elif self.ended:
                break
        return read

    def _read_frame(self, frame: bytes) -> Delta | None:
        """Read a frame by the rules of the format."""
        event = self._events.read(frame)
        if event is None:
            return None
        if event.name in _CHUNK_NAMES:
            delta = self._read_chunk(event.data)
            if delta is not None:
                self._learn(frame, event.data)
            return delta
        if event.name == "done":
            self._end(done=_read_done(event.data))
        elif event.name == "error":
            self._end(fault=_read_fault(event.data))
        return None

    def _read_chunk(self, data: bytes) -> Delta | None:
        """Return the delta in ``data``, or ``None`` if it is a keep-alive or an end."""
        if self._tolerant:
            self._tolerant -= 1
            return self._read_unusual(data.strip())
        try:
            return _decode(data)
        except _UNREADABLE:
            self._tolerant = self._patience
            self._patience = min(2 * self._patience, _MOST_TOLERANT)
            return self._read_unusual(data.strip())

    def _read_unusual(self, data: bytes) -> Delta | None:
        """Read what the quick decoder refused, or is not tried on."""
        if data in _BLANK:
            self.blanks += 1
            return None
        if data == b"[DONE]":
            self._end(done=StreamDone())
            return None
        try:
            delta = delta_decoder.read(data)
            if self._halves.are_waiting or _HALF in data.lower():
                delta = self._halves.joined(delta, halved_deltas.read(data))
                self._tolerant += self._halves.are_waiting and not self._tolerant
        except DecodeError as error:
            text = f"the stream sent a frame that is not a chunk: {error}"
            self._end(error=InvalidResponseError(text, body=_head(data)))
            return None
        if delta.extra.get("error"):
            self._end(fault=_read_fault(data))
            return None
        return delta

    def _end(
        self,
        *,
        done: StreamDone | None = None,
        fault: StreamErrorEvent | None = None,
        error: FoxAPIError | None = None,
    ) -> None:
        self.close()
        self.done, self.fault, self.error = done, fault, error

    def close(self) -> None:
        """Read nothing more."""
        self.ended = True
        self._ready = False

    def _expect(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._size = len(prefix)
        self._joint = b"\n\n" + prefix

    def _learn(self, frame: bytes, data: bytes) -> None:
        """Expect what stands before ``data``, if it is a ``data`` field, or one after ``event``."""
        prefix = frame.removesuffix(data)
        first, end, others = prefix.partition(b"\n")
        if _says_nothing(first + end):
            prefix = others
        event, _, field = prefix.rpartition(b"\n")
        if field in {b"data:", b"data: "} and event in {b"", b"event:chunk", b"event: chunk"}:
            self._expect(prefix)


def _says_nothing(before: bytes) -> bool:
    """Tell whether no chunk depends on what stands before the usual shape: an id, a comment."""
    if not before:
        return True
    return (before[:3] == b"id:" or before[:1] == b":") and before.find(b"\n") == len(before) - 1


def _read_done(data: bytes) -> StreamDone:
    """Read the normal end. The event's name says it all; unreadable data only lacks the count."""
    try:
        done = done_decoder.read(data)
    except DecodeError:
        return StreamDone()
    return done if done.total_chunks is None or done.total_chunks >= 0 else StreamDone()


def _read_fault(data: bytes) -> StreamErrorEvent:
    """Read the abnormal end: a message, an error object, or text."""
    try:
        fault = error_decoder.read(data)
    except DecodeError:
        return StreamErrorEvent(message=_head(data))
    if fault.message:
        return fault
    body, _ = read_error(data)
    return StreamErrorEvent(message=(body.message if body else None) or _head(data))


def _head(data: bytes) -> str:
    return data[:_HEAD].decode("utf-8", "replace")
