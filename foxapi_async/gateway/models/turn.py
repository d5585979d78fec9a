"""What one choice of an answer says, cut into tokens."""

from typing import Literal

from msgspec import Struct

FinishReason = Literal["stop", "length", "tool_calls"]


class Call(Struct, frozen=True, kw_only=True):
    """The function that is called."""

    id: str
    name: str


class ChoiceScript(Struct, frozen=True, kw_only=True):
    """One choice. ``pieces`` are those of its text, or of the arguments of its ``call``."""

    thinking: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    call: Call | None = None
    finish_reason: FinishReason = "stop"

    @property
    def text(self) -> str:
        """The pieces as one text."""
        return "".join(self.pieces)

    @property
    def length(self) -> int:
        """How many tokens it takes."""
        return len(self.thinking) + len(self.pieces)

    def limited(self, limit: int | None) -> "ChoiceScript":
        """Return what fits into ``limit`` tokens, thinking first."""
        if limit is None or self.length <= limit:
            return self
        return ChoiceScript(
            thinking=self.thinking[:limit],
            pieces=self.pieces[: max(0, limit - len(self.thinking))],
            # A model that ran out of tokens while thinking has not come to call anything.
            call=self.call if limit > len(self.thinking) else None,
            finish_reason="length",
        )
