"""Assigns the pieces of tool calls in a stream to their calls."""

from typing import Final

from msgspec.structs import replace

from foxapi_async._wire.chunk import NO_INDEX, Delta, DeltaChoice, ToolCallDelta

_FIRST: Final = -1


class ToolCallIndexer:
    """Numbers the tool calls of one choice.

    The number of a call is its index, if the service sends reliable indexes. A new id starts a new
    call, even at the index of another call. A piece without an id belongs to the last call at its
    index; without an index, to the call with its id; without either, to the previous call.
    """

    __slots__ = ("_by_id", "_by_index", "_ids", "_last")

    def __init__(self) -> None:
        self._ids: dict[int, str | None] = {}
        self._by_id: dict[str, int] = {}
        self._by_index: dict[int, int] = {}
        self._last: int | None = None

    def assign(self, piece: ToolCallDelta) -> int:
        """Return the number of the call that the next piece belongs to."""
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
        """Return the number of the call that ``piece`` continues; ``None`` if it starts one."""
        if piece.id and piece.id in self._by_id:
            return self._by_id[piece.id]
        number = self._last if piece.index == NO_INDEX else self._by_index.get(piece.index)
        # A call that started without an id may receive it with a later piece.
        is_other = bool(piece.id) and number is not None and self._ids[number] is not None
        return None if is_other else number


class ToolCallReindexer:
    """Gives all pieces of a tool call in the deltas of one stream the same index."""

    __slots__ = ("_choices",)

    def __init__(self) -> None:
        self._choices: dict[int, ToolCallIndexer] = {}

    def reindex(self, delta: Delta) -> Delta:
        """Return the next delta with the numbers of its calls as indexes."""
        choices = tuple(map(self._reindex_choice, delta.choices))
        return delta if choices == delta.choices else replace(delta, choices=choices)

    def _reindex_choice(self, choice: DeltaChoice) -> DeltaChoice:
        message = choice.delta
        if message is None or not message.tool_calls:
            return choice
        numbers = self._choices.setdefault(choice.index, ToolCallIndexer())
        pieces = tuple(replace(piece, index=numbers.assign(piece)) for piece in message.tool_calls)
        return replace(choice, delta=replace(message, tool_calls=pieces))
