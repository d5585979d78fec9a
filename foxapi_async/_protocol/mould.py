"""What the chunks of one stream have in common, which need not be read again in each."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import DecodeError, Raw, Struct
from msgspec.structs import replace

from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage, deltas

_LF: Final = 10
_CR: Final = 13
_UNREADABLE: Final = (DecodeError, RecursionError, UnicodeDecodeError)
_decode: Final = deltas.strict
_decode_message: Final = msgspec.json.Decoder(DeltaMessage).decode


class _Opened(Struct, gc=False):
    """A choice whose message is left as it stands in the JSON."""

    delta: Raw = Raw(b"null")


class _Chunk(Struct, gc=False):
    choices: tuple[_Opened, ...] = ()


_open: Final = msgspec.json.Decoder(_Chunk).decode
_SAMPLE: Final = DeltaMessage(content="any text")
_SAMPLE_JSON: Final = b'{"content":"any text"}'


class Mould:
    """The JSON of a plain chunk before and after its message, and the chunk that it makes.

    A plain chunk says nothing but the message of the choice with index 0. Its ``id``, ``created``
    and ``model`` are constant over a stream (CONTRACT §5.2), so most chunks differ in the message
    alone, which is a third of the JSON.
    """

    __slots__ = (
        "_after",
        "_before",
        "_chunk",
        "_frame_after",
        "_frame_before",
        "_frame_gap",
        "_gap",
        "_limit",
    )

    def __init__(
        self, prefix: bytes, before: bytes, after: bytes, chunk: Delta, limit: int
    ) -> None:
        self._before = before
        self._after = after
        self._gap = len(before) + len(after)
        self._frame_before = prefix + before
        self._frame_after = after + b"\n\n"
        self._frame_gap = len(self._frame_before) + len(self._frame_after)
        self._chunk = chunk
        self._limit = limit

    @classmethod
    def taken(cls, data: bytes, delta: Delta, *, prefix: bytes, limit: int) -> "Mould | None":
        """Return the mould of the chunk ``delta`` in ``data``, ``None`` if it is not a plain one.

        A frame has ``prefix`` before its JSON, and at most ``limit`` bytes. That any message fits
        into the mould is proved by putting one in: whatever JSON stands in its place is read as
        that, because an object ends where it ends.
        """
        choices = delta.choices
        if len(choices) != 1 or choices != (DeltaChoice(delta=choices[0].delta),):
            return None
        if delta.usage or delta.system_fingerprint or delta.service_tier or _LF in data:
            return None
        before, _, after = data.partition(bytes(_open(data).choices[0].delta))
        sample = replace(delta, choices=(DeltaChoice(delta=_SAMPLE),))
        try:
            # Equal ones would prove nothing: of two members with one name the last counts.
            if delta == sample or _decode(before + _SAMPLE_JSON + after) != sample:
                return None
        except _UNREADABLE:
            return None
        return cls(prefix, before, after, delta, limit)

    def cast(self, data: bytes) -> Delta | None:
        """Return the delta of a read that is one frame of this mould; else ``None``."""
        message = data.removeprefix(self._frame_before).removesuffix(self._frame_after)
        size = len(data)
        if (
            size - len(message) != self._frame_gap
            # Numbers, because looking for `b"\n"` costs eight times as much (PERF §0).
            or _LF in message
            or _CR in message
            or size > self._limit
        ):
            return None
        try:
            choice = DeltaChoice(delta=_decode_message(message))
        except _UNREADABLE:
            return None
        return replace(self._chunk, choices=(choice,))

    def cast_all(self, chunks: Sequence[bytes]) -> Sequence[Delta] | None:
        """Return the deltas of JSON texts that are all of this mould; else ``None``."""
        before, after, chunk = self._before, self._after, self._chunk
        messages = [data.removeprefix(before).removesuffix(after) for data in chunks]
        if sum(map(len, chunks)) - sum(map(len, messages)) != self._gap * len(chunks):
            return None
        try:
            return [
                replace(chunk, choices=(DeltaChoice(delta=message),))
                for message in map(_decode_message, messages)
            ]
        except _UNREADABLE:
            return None
