"""A position in a stream as a short opaque text, which another process can verify."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from foxapi_async._protocol.chunk_history import ChunkContent, choices_of
from foxapi_async._wire.chunk import DeltaChoice
from foxapi_async.errors import ConfigError

_VERSION: Final = 2
# Eight bytes detect a wrong cursor. Forging a cursor gains nothing, so more is not needed.
_DIGEST_SIZE: Final = 8
_NOT_A_CURSOR: Final = "this text is not the cursor of a stream"


class CursorToken(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An offset in chunks, with digests of these chunks and of their text.

    The text is that of choice 0. A bare offset has no digests. ``ended`` is true if the stored
    result has replaced the rest of the stream, so that no chunk may follow.
    """

    offset: Annotated[int, Meta(ge=0)]
    text_length: Annotated[int, Meta(ge=0)] = 0
    chunks_digest: bytes | None = None
    text_digest: bytes | None = None
    ended: bool = False
    version: int = _VERSION

    @classmethod
    def parse(cls, text: str) -> "CursorToken":
        """Return the token that `as_text` wrote; raise ``ConfigError`` for any other text."""
        try:
            packed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            token = msgspec.msgpack.decode(packed, type=CursorToken)
        except (ValueError, msgspec.MsgspecError):
            raise ConfigError(_NOT_A_CURSOR) from None
        if token.version != _VERSION:
            raise ConfigError("this cursor is from another version of foxapi_async")
        if token.as_text() != text:
            raise ConfigError(_NOT_A_CURSOR)
        return token

    def as_text(self) -> str:
        """Return the token as a text that is safe in URLs and file names."""
        return urlsafe_b64encode(msgspec.msgpack.encode(self)).rstrip(b"=").decode()

    def is_prefix_of(self, stored: str) -> bool:
        """Tell whether ``stored`` begins with the text before this position."""
        begun = stored[: self.text_length].encode()
        return blake2b(begun, digest_size=_DIGEST_SIZE).digest() == self.text_digest


class RunningDigest:
    """Makes tokens for positions in a growing list of chunks; digests each chunk only once."""

    __slots__ = ("_chunks", "_length", "_offset", "_text")

    def __init__(self) -> None:
        self._offset = self._length = 0
        self._chunks = blake2b(digest_size=_DIGEST_SIZE)
        self._text = blake2b(digest_size=_DIGEST_SIZE)

    def token_at(self, contents: Sequence[ChunkContent], offset: int) -> CursorToken:
        """Return the token of the position after the first ``offset`` chunks."""
        if offset < self._offset:
            return RunningDigest().token_at(contents, offset)
        new = contents[self._offset : offset]
        text = "".join(map(chunk_text, new))
        self._chunks.update(b"".join(map(_canonical, new)))
        self._text.update(text.encode())
        self._length += len(text)
        self._offset = offset
        return CursorToken(offset, self._length, self._chunks.digest(), self._text.digest())


def chunk_text(content: ChunkContent) -> str:
    """Return what a chunk adds to the text of choice 0."""
    if isinstance(content, str):
        return content
    pieces = (
        choice.delta.content for choice in choices_of(content) if not choice.index and choice.delta
    )
    return "".join(piece or "" for piece in pieces)


def _canonical(content: ChunkContent) -> bytes:
    """Encode a content in a form that does not change when its structs gain members."""
    members = [list(_members(choice)) for choice in choices_of(content)]
    try:
        return msgspec.msgpack.encode(members)
    except OverflowError:  # an index of more than 64 bits
        return repr(members).encode()


def _members(choice: DeltaChoice) -> Iterator[str | int | None]:
    yield choice.index
    yield choice.finish_reason
    if message := choice.delta:
        yield message.content
        yield message.reasoning_content
        for call in message.tool_calls or ():
            yield call.index
            yield call.function.arguments if call.function else None
