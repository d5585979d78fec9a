"""The prompt of a request, and text as tokens: one token a word, with the space before it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from foxapi_async._wire.request import GenerationRequest, Message

_EXCERPT_WORDS: Final = 12
_EXCERPT_LENGTH: Final = 200
_MAX_NUMBERS: Final = 1000
# The patterns below search the text once for each choice.
_MAX_CHARACTERS: Final = 100_000

_COUNT: Final = re.compile(
    r"\bcount\s+(?:(?:up|down)\s+)?(?:from\s+)?"
    r"(?:(-?\d{1,9})\s*(?:up\s+to|down\s+to|to|through|until|\.\.+|[-\u2013\u2014])\s*|(?:up\s+)?to\s+)"
    r"(-?\d{1,9})\b(?:\s+(?:by|in\s+steps\s+of)\s+(\d{1,9})\b)?",
    re.IGNORECASE,
)
_FAIL: Final = re.compile(r"\[\[fail:([a-z_]{1,64})(?::(\d{1,6}))?\]\]")
_WORD: Final = re.compile(r"\s*\S+")


class Prompt(Struct, frozen=True, kw_only=True):
    """The last user message, and the size of the whole conversation."""

    text: str
    """The text of the message, at most 100,000 characters."""
    words: int
    """The words of all messages."""
    media: Mapping[str, int]
    """The number of blocks that are not text, by content type."""
    tool_result: str | None = None
    """The text of the last message if it is the result of a tool."""

    @property
    def excerpt(self) -> str:
        """The beginning of the text, short enough to quote."""
        return excerpt(self.text)

    @property
    def numbers(self) -> range | None:
        """The range that the text asks to count, limited to its first thousand numbers."""
        found = _COUNT.search(self.text)
        if found is None:
            return None
        first, last, step = int(found[1] or 1), int(found[2]), int(found[3] or 1) or 1
        numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return numbers[:_MAX_NUMBERS]

    @property
    def failure(self) -> tuple[str, int] | None:
        """The error code that the text asks for, and the number of tokens to write before it."""
        return find_failure(self.text)


def find_failure(text: str) -> tuple[str, int] | None:
    """Return the error code that a text asks for, and the number of tokens to write before it."""
    found = _FAIL.search(text, 0, _MAX_CHARACTERS)
    return (found[1], int(found[2] or 0)) if found else None


def read_prompt(request: GenerationRequest) -> Prompt:
    """Return the prompt of a request."""
    last = request.messages[-1]
    asked = next((item for item in reversed(request.messages) if item.role == "user"), last)
    media = Counter(block.type for block in asked.blocks if block.type != "text")
    return Prompt(
        text=_text(asked)[:_MAX_CHARACTERS],
        words=count_prompt_tokens(request),
        media=dict(media),
        tool_result=_text(last)[:_MAX_CHARACTERS] if last.role == "tool" else None,
    )


def excerpt(text: str) -> str:
    """Return the first words of ``text``, with "…" if there are more."""
    words = text.split(maxsplit=_EXCERPT_WORDS)
    whole = " ".join(words[:_EXCERPT_WORDS])
    short = whole[:_EXCERPT_LENGTH]
    return short if short == whole and len(words) <= _EXCERPT_WORDS else f"{short}…"


def split_tokens(text: str) -> tuple[str, ...]:
    """Split ``text`` into tokens. Joined again, they are ``text``."""
    words: list[str] = _WORD.findall(text)
    rest = text[sum(map(len, words)) :]
    if rest:
        words = [*words[:-1], words[-1] + rest] if words else [rest]
    return tuple(words)


def count_tokens(text: str) -> int:
    """Return the number of words of ``text``."""
    return len(text.split())


def count_prompt_tokens(request: GenerationRequest) -> int:
    """Return the number of words of all messages."""
    return sum(count_tokens(_text(message)) for message in request.messages)


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Return ``text`` up to the first occurrence of any of ``stops``."""
    positions = [position for stop in stops if stop and (position := text.find(stop)) >= 0]
    return text[: min(positions)] if positions else text


def _text(message: Message) -> str:
    return "\n".join(block.text for block in message.blocks if isinstance(block.text, str))
