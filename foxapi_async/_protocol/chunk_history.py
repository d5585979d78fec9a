"""What the chunks of a stream said, one short entry each."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

from msgspec import UNSET

from foxapi_async._protocol.tool_calls import ToolCallReindexer
from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage

Choices = tuple[DeltaChoice, ...]
ChunkContent = DeltaMessage | Choices
"""What one chunk says: its choices, or the message of one that says nothing else of choice 0.

Two chunks say the same if this is equal. A chunk is known by its choices, because a server may
stamp ``id`` and ``created`` anew in a replay.
"""

_index: Final[Callable[[tuple[int, Delta]], int]] = itemgetter(0)


class ChunkHistory:
    """What each chunk said, in their order.

    So the chunks themselves need not be kept: a word costs a quarter of its delta, and nothing that
    the collector would have to look at. ``metadata`` are the deltas that tell something new beside
    their choices, with their index: usage, unknown members, at first whose the stream is.
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
        """Add deltas, and return them as readers get them: each piece with the index of its call.

        What is kept is what came, because it is compared with what will come again.
        """
        contents = self.contents
        calling: list[int] = []
        for number, delta in enumerate(deltas):
            if (
                not self._has_identity
                or delta.usage is not None
                or delta.system_fingerprint is not None
                or delta.service_tier is not None
                # To ask for `extra` would cost a call (PERF §2).
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
        """Return what the chunks from ``start`` to before ``end`` said, and the notes on them."""
        first, last = (bisect_left(self.metadata, at, key=_index) for at in (start, end))
        return self.contents[start:end], [delta for _, delta in self.metadata[first:last]]

    def _has_new_metadata(self, delta: Delta) -> bool:
        """Tell whether a delta tells something that the notes do not, beside its choices."""
        before = (self._has_identity, self._fingerprint, self._tier)
        # Some servers send an empty chunk ahead.
        self._has_identity = self._has_identity or bool(delta.id or delta.model)
        self._fingerprint = delta.system_fingerprint or self._fingerprint
        self._tier = delta.service_tier or self._tier
        after = (self._has_identity, self._fingerprint, self._tier)
        return before != after or delta.usage is not None or bool(delta.extra)


def content_of(delta: Delta) -> ChunkContent:
    """Return what a chunk says."""
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
    """Return the choices of a chunk that said this."""
    return content if isinstance(content, tuple) else (DeltaChoice(delta=content),)
