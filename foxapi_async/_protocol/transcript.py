"""What the chunks of a stream said, one short entry each."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

from msgspec import UNSET

from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage

Choices = tuple[DeltaChoice, ...]
Said = str | DeltaMessage | Choices
"""What one chunk says, as short as tells it exactly: two chunks say the same if this is equal.

A text is that of a message with nothing else, a message that of choice 0 with nothing else. A chunk
is known by its choices, because a server may stamp ``id`` and ``created`` anew in a replay.
"""

_index: Final[Callable[[tuple[int, Delta]], int]] = itemgetter(0)


class Transcript:
    """What each chunk said, in their order.

    So the chunks themselves need not be kept: a word costs a tenth of its delta, and nothing that
    the collector would have to look at. ``notes`` are the deltas that tell something new beside
    their choices, with their index: usage, unknown members, at first whose the stream is.
    """

    __slots__ = ("_fingerprint", "_tier", "is_named", "notes", "said")

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.notes: list[tuple[int, Delta]] = []
        self.is_named = False
        self._fingerprint: str | None = None
        self._tier: str | None = None

    def add(self, deltas: Sequence[Delta]) -> None:
        """Add plain deltas, once the stream ``is_named``: each has one message and no more to say.

        Their ``id`` is no news then.
        """
        said = self.said
        for delta in deltas:
            message = delta.choices[0].delta
            if message is None:
                said.append(delta.choices)
            elif (
                message.reasoning_content is None
                and message.role is None
                and message.tool_calls is None
                and message.refusal is None
                and message._extra is UNSET  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                and message.content is not None
            ):
                said.append(message.content)
            else:
                said.append(message)

    def extend(self, deltas: Sequence[Delta]) -> None:
        """Add any deltas."""
        said = self.said
        for delta in deltas:
            choices = delta.choices
            if (
                not self.is_named
                or delta.usage is not None
                or delta.system_fingerprint is not None
                or delta.service_tier is not None
                # To ask for `extra` would cost a call (PERF §2).
                or delta._extra is not UNSET  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            ) and self._is_news(delta):
                self.notes.append((len(said), delta))
            if len(choices) == 1:
                choice = choices[0]
                message = choice.delta
                if (
                    choice.finish_reason is None
                    and choice.logprobs is None
                    and choice._extra is UNSET  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                    and not choice.index
                    and message is not None
                ):
                    if (
                        message.reasoning_content is None
                        and message.role is None
                        and message.tool_calls is None
                        and message.refusal is None
                        and message._extra is UNSET  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                        and message.content is not None
                    ):
                        said.append(message.content)
                    else:
                        said.append(message)
                    continue
            said.append(choices)

    def part(self, start: int, end: int) -> tuple[Sequence[Said], Sequence[Delta]]:
        """Return what the chunks from ``start`` to before ``end`` said, and the notes on them."""
        first, last = (bisect_left(self.notes, at, key=_index) for at in (start, end))
        return self.said[start:end], [delta for _, delta in self.notes[first:last]]

    def _is_news(self, delta: Delta) -> bool:
        """Tell whether a delta tells something that the notes do not, beside its choices."""
        before = (self.is_named, self._fingerprint, self._tier)
        # Some servers send an empty chunk ahead.
        self.is_named = self.is_named or bool(delta.id or delta.model)
        self._fingerprint = delta.system_fingerprint or self._fingerprint
        self._tier = delta.service_tier or self._tier
        after = (self.is_named, self._fingerprint, self._tier)
        return before != after or delta.usage is not None or bool(delta.extra)


def said_by(delta: Delta) -> Said:
    """Return what a chunk says."""
    transcript = Transcript()
    transcript.extend((delta,))
    return transcript.said[0]


def choices_of(said: Said) -> Choices:
    """Return the choices of a chunk that said this."""
    if isinstance(said, tuple):
        return said
    message = said if isinstance(said, DeltaMessage) else DeltaMessage(content=said)
    return (DeltaChoice(delta=message),)
