"""What the chunks of a stream said, one short entry each."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

from msgspec import UNSET

from foxapi_async._protocol.tool_calls import DeltaNumbers
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
    the collector would have to look at. ``notes`` are the deltas that tell something new beside
    their choices, with their index: usage, unknown members, at first whose the stream is.
    """

    __slots__ = ("_fingerprint", "_is_named", "_numbers", "_tier", "notes", "said")

    def __init__(self) -> None:
        self.said: list[ChunkContent] = []
        self.notes: list[tuple[int, Delta]] = []
        self._is_named = False
        self._numbers = DeltaNumbers()
        self._fingerprint: str | None = None
        self._tier: str | None = None

    def extend(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Add deltas, and return them as readers get them: each piece with the index of its call.

        What is kept is what came, because it is compared with what will come again.
        """
        said = self.said
        calling: list[int] = []
        for number, delta in enumerate(deltas):
            if (
                not self._is_named
                or delta.usage is not None
                or delta.system_fingerprint is not None
                or delta.service_tier is not None
                # To ask for `extra` would cost a call (PERF §2).
                or delta._extra is not UNSET  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            ) and self._is_news(delta):
                self.notes.append((len(said), delta))
            one = content_of(delta)
            said.append(one)
            if isinstance(one, tuple) or one.tool_calls is not None:
                calling.append(number)
        if not calling:
            return deltas
        numbered = list(deltas)
        for number in calling:
            numbered[number] = self._numbers.numbered(deltas[number])
        return deltas if numbered == deltas else numbered

    def part(self, start: int, end: int) -> tuple[Sequence[ChunkContent], Sequence[Delta]]:
        """Return what the chunks from ``start`` to before ``end`` said, and the notes on them."""
        first, last = (bisect_left(self.notes, at, key=_index) for at in (start, end))
        return self.said[start:end], [delta for _, delta in self.notes[first:last]]

    def _is_news(self, delta: Delta) -> bool:
        """Tell whether a delta tells something that the notes do not, beside its choices."""
        before = (self._is_named, self._fingerprint, self._tier)
        # Some servers send an empty chunk ahead.
        self._is_named = self._is_named or bool(delta.id or delta.model)
        self._fingerprint = delta.system_fingerprint or self._fingerprint
        self._tier = delta.service_tier or self._tier
        after = (self._is_named, self._fingerprint, self._tier)
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


def choices_of(said: ChunkContent) -> Choices:
    """Return the choices of a chunk that said this."""
    return said if isinstance(said, tuple) else (DeltaChoice(delta=said),)
