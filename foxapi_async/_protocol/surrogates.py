"""Joins surrogate pairs that a server has split between two chunks."""

from typing import Any

from msgspec.structs import replace

from foxapi_async._wire.base import join_surrogates
from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage, ToolCallDelta

_TEXTS = ("content", "reasoning_content", "refusal")


class SurrogateJoiner:
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
            name: self._text(getattr(raw.delta, name), choice.index, name) for name in _TEXTS
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
