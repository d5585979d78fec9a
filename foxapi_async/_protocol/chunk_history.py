"""Keeps the contents of the chunks of a stream, in a compact form."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

from msgspec import UNSET

from foxapi_async._protocol.tool_calls import ToolCallReindexer
from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage

Choices = tuple[DeltaChoice, ...]
ChunkContent = DeltaMessage | Choices
"""The content of one chunk: its choices, or the bare message if it has only a message of choice 0.

Two chunks are the same chunk if their contents are equal. ``id`` and ``created`` do not count,
because a server may change them in a replay.
"""

_index: Final[Callable[[tuple[int, Delta]], int]] = itemgetter(0)


class ChunkHistory:
    """The contents of all chunks, in order.

    A content takes a quarter of the memory of its delta, and the garbage collector does not track
    it. ``metadata`` has the deltas with new information outside their choices (the id and the model
    of the stream, usage, unknown members), each with its index.
    """

    __slots__ = ("_fingerprint", "_has_identity", "_tier", "_tool_calls", "contents", "metadata")

    def __init__(self) -> None:
        self.contents: list[ChunkContent] = []
        self.metadata: list[tuple[int, Delta]] = []
        self._has_identity = False
        self._tool_calls = ToolCallReindexer()
        self._fingerprint: str | None = None
        self._tier: str | None = None

    def extend(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Add deltas; return them with the pieces of tool calls numbered by call.

        The history keeps the deltas as received, because they are compared with a replay.
        """
        contents = self.contents
        calling: list[int] = []
        for number, delta in enumerate(deltas):
            if (
                not self._has_identity
                or delta.usage is not None
                or delta.system_fingerprint is not None
                or delta.service_tier is not None
                # The property `extra` would cost a call for each chunk.
                or delta._extra is not UNSET  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            ) and self._has_new_metadata(delta):
                self.metadata.append((len(contents), delta))
            content = content_of(delta)
            contents.append(content)
            if isinstance(content, tuple) or content.tool_calls is not None:
                calling.append(number)
        if not calling:
            return deltas
        numbered = list(deltas)
        for number in calling:
            numbered[number] = self._tool_calls.reindex(deltas[number])
        return deltas if numbered == deltas else numbered

    def slice(self, start: int, end: int) -> tuple[Sequence[ChunkContent], Sequence[Delta]]:
        """Return the contents of chunks ``start`` to ``end`` (excluded), and their metadata."""
        first, last = (bisect_left(self.metadata, at, key=_index) for at in (start, end))
        return self.contents[start:end], [delta for _, delta in self.metadata[first:last]]

    def _has_new_metadata(self, delta: Delta) -> bool:
        """Tell whether a delta has information outside its choices that ``metadata`` lacks."""
        before = (self._has_identity, self._fingerprint, self._tier)
        # Some servers begin with a chunk without id and model.
        self._has_identity = self._has_identity or bool(delta.id or delta.model)
        self._fingerprint = delta.system_fingerprint or self._fingerprint
        self._tier = delta.service_tier or self._tier
        after = (self._has_identity, self._fingerprint, self._tier)
        return before != after or delta.usage is not None or bool(delta.extra)


def content_of(delta: Delta) -> ChunkContent:
    """Return the content of a chunk."""
    choices = delta.choices
    if len(choices) == 1:
        choice = choices[0]
        if (
            choice.delta is not None
            and not choice.index
            and choice.finish_reason is None
            and choice.logprobs is None
            and choice._extra is UNSET  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        ):
            return choice.delta
    return choices


def choices_of(content: ChunkContent) -> Choices:
    """Return the choices of a chunk with this content."""
    return content if isinstance(content, tuple) else (DeltaChoice(delta=content),)
