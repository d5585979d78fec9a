"""Decodes the bytes of a stream into deltas (contract §5.2, §6)."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import DecodeError
from msgspec.structs import replace

from foxapi_async._protocol.sse import CR, LF, EventDecoder, decode_frame
from foxapi_async._wire.base import join_surrogates
from foxapi_async._wire.chunk import (
    Delta,
    DeltaChoice,
    DeltaMessage,
    StreamDone,
    StreamErrorEvent,
    ToolCallDelta,
    delta_decoder,
    done_decoder,
    error_decoder,
    surrogate_delta_decoder,
)
from foxapi_async._wire.error_body import EXCERPT_LENGTH, decode_error
from foxapi_async.errors import FoxAPIError, InvalidResponseError

_DEFAULT_PREFIX: Final = b"event: chunk\ndata: "
_CHUNK_NAMES: Final = frozenset({"chunk", "message"})
_TEXT_MEMBERS: Final = ("content", "reasoning_content", "refusal")
_BLANK_DATA: Final = frozenset({b"", b"null"})
_SURROGATE_ESCAPE: Final = b"\\ud"
_MIN_LENIENT_RUN: Final = 8
_MAX_LENIENT_RUN: Final = 1024
# The errors of `decode_strict`; `Decoder.decode` raises `DecodeError` for all of them.
_UNREADABLE: Final = (DecodeError, RecursionError, UnicodeDecodeError)
_decode: Final = delta_decoder.decode_strict


class ChunkDecoder:
    """Decodes the chunks of a stream: FoxAPI's events, or bare ``data`` fields with ``[DONE]``.

    A stream ends in one of three ways. Then ``ended`` is true, and one attribute is set: ``done``
    after the normal end, ``error_event`` after an error event of the service, ``error`` after a
    frame that cannot be decoded or has more than ``limit`` bytes. It is set in the same call that
    returns the last deltas; later calls return nothing.

    ``blank_events`` counts chunk events without a chunk (``null`` or no data), which some servers
    send as keep-alives. ``needs_full_replay`` is true if the stream can only be decoded or counted
    from its first chunk: after blank events, or if a surrogate pair was split between two chunks.

    Decoding has three tiers, from the fastest to the general one. If a tier does not apply, the
    next one decodes the same data:

    0. One read is one plain frame: compare prefix and suffix, decode the JSON between them.
    1. All frames are plain: split the block at the prefix and decode each part. The split is
       correct if no part contains a line end.
    2. Frame by frame: a plain frame, or the full rules of the event stream format.

    A plain frame has only the known prefix before its JSON: FoxAPI's ``event`` and ``data`` fields,
    until tier 2 adopts another one. Before tier 1, CR and CR LF become LF, and a frame that is
    spread over several reads is joined once. All tiers use the strict decoder, which rejects
    members that `Delta` does not know. A rejected chunk is decoded leniently, and so are the next
    chunks before the strict decoder is tried again; their number doubles with each rejection.
    """

    __slots__ = (
        "_at_frame_start",
        "_events",
        "_lenient_left",
        "_lenient_run",
        "_limit",
        "_prefix",
        "_prefix_size",
        "_separator",
        "_surrogates",
        "blank_events",
        "done",
        "ended",
        "error",
        "error_event",
    )

    def __init__(self, limit: int) -> None:
        self._events = EventDecoder(limit)
        self._surrogates = _SurrogateJoiner()
        self.blank_events = 0
        self._limit = limit
        # Whether tier 0 may run: the next byte begins a frame, and the stream has not ended.
        self._at_frame_start = False
        # For how many chunks the strict decoder is skipped: now, and after its next failure.
        self._lenient_left = 0
        self._lenient_run = _MIN_LENIENT_RUN
        self._set_prefix(_DEFAULT_PREFIX)
        self.ended = False
        self.done: StreamDone | None = None
        self.error_event: StreamErrorEvent | None = None
        self.error: FoxAPIError | None = None

    @property
    def needs_full_replay(self) -> bool:
        """Whether the next connection has to begin with the first chunk."""
        return self.blank_events > 0 or self._surrogates.found_split

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Decode ``data`` and return the deltas that it completes."""
        if self._at_frame_start:
            chunk = data.removeprefix(self._prefix).removesuffix(b"\n\n")
            size = len(data)
            # Searching for an integer is eight times faster than searching for `b"\n"`.
            if (
                size - len(chunk) == self._prefix_size + 2
                and LF not in chunk
                and CR not in chunk
                and size <= self._limit
            ):
                try:
                    return (_decode(chunk),)
                except _UNREADABLE:
                    pass
        return () if self.ended else self._feed(data)

    def _feed(self, data: bytes) -> Sequence[Delta]:
        """Decode by tiers 1 and 2."""
        events = self._events
        block = events.extract_block(data)
        chunks = self._decode_uniform(block) if block else ()
        if chunks is None:
            chunks = self._decode_each(block)
        if events.error and not self.ended:
            self._end(error=events.error)
        if self._at_frame_start or events.at_boundary:
            self._at_frame_start = events.at_boundary and not self.ended and not self._lenient_left
        return chunks

    def _decode_uniform(self, block: bytes) -> Sequence[Delta] | None:
        """Decode a block of plain frames (tier 1); ``None`` if there are other frames in it."""
        if (
            block[: self._prefix_size] != self._prefix
            or self._lenient_left
            or len(block) > self._limit
        ):
            return None
        chunks = block[self._prefix_size : -2].split(self._separator)
        if LF in b"".join(chunks):
            return None
        try:
            return list(map(_decode, chunks))
        except _UNREADABLE:
            return None

    def _decode_each(self, block: bytes) -> Sequence[Delta]:
        """Decode frame by frame (tier 2), up to the end of the stream."""
        read: list[Delta] = []
        for frame in self._events.split_block(block):
            before, prefix, data = frame.partition(self._prefix)
            if prefix and LF not in data and _is_ignorable_prefix(before):
                delta = self._decode_chunk(data)
            else:
                delta = self._decode_frame(frame)
            if delta is not None:
                read.append(delta)
            elif self.ended:
                break
        return read

    def _decode_frame(self, frame: bytes) -> Delta | None:
        """Decode a frame by the rules of the event stream format."""
        event = decode_frame(frame)
        if event is None:
            return None
        if event.name in _CHUNK_NAMES:
            delta = self._decode_chunk(event.data)
            if delta is not None:
                self._adopt_prefix(frame, event.data)
            return delta
        if event.name == "done":
            self._end(done=_decode_done(event.data))
        elif event.name == "error":
            self._end(error_event=_decode_error_event(event.data))
        return None

    def _decode_chunk(self, data: bytes) -> Delta | None:
        """Return the delta in ``data``; ``None`` if it is a keep-alive or the end of the stream."""
        if self._lenient_left:
            self._lenient_left -= 1
            return self._decode_lenient(data.strip())
        try:
            return _decode(data)
        except _UNREADABLE:
            self._lenient_left = self._lenient_run
            self._lenient_run = min(2 * self._lenient_run, _MAX_LENIENT_RUN)
            return self._decode_lenient(data.strip())

    def _decode_lenient(self, data: bytes) -> Delta | None:
        """Decode data that the strict decoder rejected, or that it is skipped for."""
        if data in _BLANK_DATA:
            self.blank_events += 1
            return None
        if data == b"[DONE]":
            self._end(done=StreamDone())
            return None
        try:
            delta = delta_decoder.decode(data)
            if self._surrogates.has_pending or _SURROGATE_ESCAPE in data.lower():
                delta = self._surrogates.join(delta, surrogate_delta_decoder.decode(data))
                self._lenient_left += self._surrogates.has_pending and not self._lenient_left
        except DecodeError as error:
            text = f"the stream sent a frame that is not a chunk: {error}"
            self._end(error=InvalidResponseError(text, body=_excerpt(data)))
            return None
        if delta.extra.get("error"):
            self._end(error_event=_decode_error_event(data))
            return None
        return delta

    def _end(
        self,
        *,
        done: StreamDone | None = None,
        error_event: StreamErrorEvent | None = None,
        error: FoxAPIError | None = None,
    ) -> None:
        self.close()
        self.done, self.error_event, self.error = done, error_event, error

    def close(self) -> None:
        """End the stream; later data is ignored."""
        self.ended = True
        self._at_frame_start = False

    def _set_prefix(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._prefix_size = len(prefix)
        self._separator = b"\n\n" + prefix

    def _adopt_prefix(self, frame: bytes, data: bytes) -> None:
        """Use what precedes ``data`` as the plain prefix, if it has only known fields."""
        prefix = frame.removesuffix(data)
        first, end, others = prefix.partition(b"\n")
        if _is_ignorable_prefix(first + end):
            prefix = others
        event, _, field = prefix.rpartition(b"\n")
        if field in {b"data:", b"data: "} and event in {b"", b"event:chunk", b"event: chunk"}:
            self._set_prefix(prefix)


class _SurrogateJoiner:
    """Joins the surrogate pairs that are split between the texts of two chunks.

    A high surrogate at the end of a text is held back until the next chunk that has a text in the
    same place. U+FFFD replaces every surrogate without a partner.
    """

    __slots__ = ("_pending", "found_split")

    def __init__(self) -> None:
        self._pending: dict[tuple[object, ...], str] = {}
        # Whether any pair was split.
        self.found_split: bool = False

    @property
    def has_pending(self) -> bool:
        """Whether a surrogate is held back, so that the next chunk has to pass through `join`."""
        return bool(self._pending)

    def join(self, delta: Delta, raw: Delta) -> Delta:
        """Return ``delta`` with the texts of ``raw``, which still has its surrogates, joined."""
        pairs = zip(delta.choices, raw.choices, strict=True)
        return replace(delta, choices=tuple(self._choice(*pair) for pair in pairs))

    def _choice(self, choice: DeltaChoice, raw: DeltaChoice) -> DeltaChoice:
        if choice.delta is None or raw.delta is None:
            return choice
        changes: dict[str, Any] = {
            name: self._text(getattr(raw.delta, name), choice.index, name) for name in _TEXT_MEMBERS
        }
        if raw.delta.tool_calls:
            changes["tool_calls"] = self._calls(choice.delta, raw.delta, choice.index)
        return replace(choice, delta=replace(choice.delta, **changes))

    def _calls(
        self, message: DeltaMessage, raw: DeltaMessage, index: int
    ) -> tuple[ToolCallDelta, ...]:
        pieces: list[ToolCallDelta] = []
        for piece, whole in zip(message.tool_calls or (), raw.tool_calls or (), strict=True):
            if piece.function is None or whole.function is None:
                pieces.append(piece)
                continue
            arguments = self._text(whole.function.arguments, index, piece.index, piece.id)
            pieces.append(replace(piece, function=replace(piece.function, arguments=arguments)))
        return tuple(pieces)

    def _text(self, text: str | None, *place: object) -> str | None:
        if text:
            text = self._pending.pop(place, "") + text
            if "\ud800" <= text[-1] <= "\udbff":
                text, self._pending[place] = text[:-1], text[-1]
                self.found_split = True
            text = join_surrogates(text)
        return text


def _is_ignorable_prefix(before: bytes) -> bool:
    """Tell whether ``before``, in front of a plain prefix, is empty, an id or a comment."""
    if not before:
        return True
    return (before[:3] == b"id:" or before[:1] == b":") and before.find(b"\n") == len(before) - 1


def _decode_done(data: bytes) -> StreamDone:
    """Decode the data of a ``done`` event; data that cannot be decoded has no count."""
    try:
        done = done_decoder.decode(data)
    except DecodeError:
        return StreamDone()
    return done if done.total_chunks is None or done.total_chunks >= 0 else StreamDone()


def _decode_error_event(data: bytes) -> StreamErrorEvent:
    """Decode the data of an ``error`` event: a message, an error object, or text."""
    try:
        event = error_decoder.decode(data)
    except DecodeError:
        return StreamErrorEvent(message=_excerpt(data))
    if event.message:
        return event
    body, _ = decode_error(data)
    return StreamErrorEvent(message=(body.message if body else None) or _excerpt(data))


def _excerpt(data: bytes) -> str:
    return data[:EXCERPT_LENGTH].decode("utf-8", "replace")
