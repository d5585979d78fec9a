"""What a simulated model reads in a request."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async.gateway.models.tokens import count_tokens

_EXCERPT_WORDS: Final = 12
_EXCERPT_LENGTH: Final = 200
_MOST_NUMBERS: Final = 1000
# What is read of a text, once for each choice: the longest prompt of the other protocols.
_MOST_CHARACTERS: Final = 100_000

_COUNT = re.compile(
    r"\bcount\s+(?:(?:up|down)\s+)?(?:from\s+)?"
    r"(?:(-?\d{1,9})\s*(?:up\s+to|down\s+to|to|through|until|\.\.+|[-\u2013\u2014])\s*|(?:up\s+)?to\s+)"
    r"(-?\d{1,9})\b(?:\s+(?:by|in\s+steps\s+of)\s+(\d{1,9})\b)?",
    re.IGNORECASE,
)
_FAIL = re.compile(r"\[\[fail:([a-z_]{1,64})(?::(\d{1,6}))?\]\]")


class Prompt(Struct, frozen=True, kw_only=True):
    """The last thing that was said to the model, and how much was said in all.

    ``media`` counts the blocks that are not text, by their content type; ``tool_result`` is what a
    tool has answered if the conversation ends with that.
    """

    text: str
    words: int
    media: Mapping[str, int]
    tool_result: str | None = None

    @property
    def excerpt(self) -> str:
        """The beginning of the text, short enough to be quoted."""
        return excerpt(self.text)

    @property
    def numbers(self) -> range | None:
        """The range that the text asks to be counted, at most a thousand numbers of it."""
        asked = _COUNT.search(self.text)
        if asked is None:
            return None
        first, last, step = int(asked[1] or 1), int(asked[2]), int(asked[3] or 1) or 1
        numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return numbers[:_MOST_NUMBERS]

    @property
    def failure(self) -> tuple[str, int] | None:
        """The code that the task is to fail with, and the tokens to write first."""
        asked = _FAIL.search(self.text)
        return (asked[1], int(asked[2] or 0)) if asked else None


def read_prompt(request: GenerationRequest) -> Prompt:
    """Read the conversation."""
    last = request.messages[-1]
    asked = next((item for item in reversed(request.messages) if item.role == "user"), last)
    media = Counter(block.type for block in asked.blocks if block.type != "text")
    return Prompt(
        text=_text(asked)[:_MOST_CHARACTERS],
        words=sum(count_tokens(_text(message)) for message in request.messages),
        media=dict(media),
        tool_result=_text(last)[:_MOST_CHARACTERS] if last.role == "tool" else None,
    )


def excerpt(text: str) -> str:
    """Return the first words of ``text``, with a sign that there are more."""
    words = text.split(maxsplit=_EXCERPT_WORDS)
    whole = " ".join(words[:_EXCERPT_WORDS])
    short = whole[:_EXCERPT_LENGTH]
    return short if short == whole and len(words) <= _EXCERPT_WORDS else f"{short}…"


def _text(message: Message) -> str:
    return "\n".join(block.text for block in message.blocks if isinstance(block.text, str))
