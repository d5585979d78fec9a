"""Which tool call of an answer each piece of a stream belongs to."""

from typing import Final

from msgspec.structs import replace

from foxapi_async._wire.chunk import NO_INDEX, Delta, DeltaChoice, ToolCallDelta

_FIRST: Final = -1


class ToolCallIndexer:
    """Numbers the calls of one choice, which are their indexes where those can be relied on.

    A new id opens a new call, also at an index that another call has. A piece without an id goes to
    the last call at its index, one without an index to that of its id, and one without either to
    the call before.
    """

    __slots__ = ("_by_id", "_by_index", "_ids", "_last")

    def __init__(self) -> None:
        self._ids: dict[int, str | None] = {}
        self._by_id: dict[str, int] = {}
        self._by_index: dict[int, int] = {}
        self._last: int | None = None

    def assign(self, piece: ToolCallDelta) -> int:
        """Take in the next piece and return the number of its call."""
        number = self._find(piece)
        if number is None:
            taken = piece.index == NO_INDEX or piece.index in self._ids
            number = max(self._ids, default=_FIRST) + 1 if taken else piece.index
            self._ids[number] = None
        if piece.id:
            self._ids[number] = piece.id
            self._by_id[piece.id] = number
        if piece.index != NO_INDEX:
            self._by_index[piece.index] = number
        self._last = number
        return number

    def _find(self, piece: ToolCallDelta) -> int | None:
        """Return the number of the call that ``piece`` goes on, ``None`` if it opens one."""
        if piece.id and piece.id in self._by_id:
            return self._by_id[piece.id]
        number = self._last if piece.index == NO_INDEX else self._by_index.get(piece.index)
        # A call that was begun without an id gets it with a later piece.
        is_other = bool(piece.id) and number is not None and self._ids[number] is not None
        return None if is_other else number


class ToolCallReindexer:
    """Numbers the calls in the deltas of one stream, so that pieces of one call have one index."""

    __slots__ = ("_choices",)

    def __init__(self) -> None:
        self._choices: dict[int, ToolCallIndexer] = {}

    def reindex(self, delta: Delta) -> Delta:
        """Take in the next delta and return it with the numbers in the place of the indexes."""
        choices = tuple(map(self._reindex_choice, delta.choices))
        return delta if choices == delta.choices else replace(delta, choices=choices)

    def _reindex_choice(self, choice: DeltaChoice) -> DeltaChoice:
        message = choice.delta
        if message is None or not message.tool_calls:
            return choice
        numbers = self._choices.setdefault(choice.index, ToolCallIndexer())
        pieces = tuple(replace(piece, index=numbers.assign(piece)) for piece in message.tool_calls)
        return replace(choice, delta=replace(message, tool_calls=pieces))
