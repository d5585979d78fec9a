"""What is heard in a recording: its name, its type and its size, as a text with times."""

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

_SECONDS_A_WORD: Final = 0.4
_MAX_NAME: Final = 80


class Recording(Struct, frozen=True, kw_only=True):
    """A file that a request names."""

    url: str
    """The URL of the request."""
    name: str
    """The file name."""
    content_type: str | None = None
    """The media type; ``None`` for a file that the gateway has not stored."""
    size: int | None = None
    """The number of bytes; ``None`` for a file that the gateway has not stored."""
    seconds: float | None = None
    """The duration; ``None`` if it is not known."""


def foreign_source(url: str) -> Recording:
    """Return what a URL tells of a file that the gateway has not stored."""
    if url[:5].lower() == "data:":
        return Recording(url=url, name="inline data")
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    return Recording(url=url, name=unquote(path.rpartition("/")[2])[:_MAX_NAME] or "a recording")


def transcribe(source: Recording) -> str:
    """Return the text of a recording."""
    if source.size is None:
        return f"This is a transcript of {source.name}."
    text = (
        f"This is {source.name}, a file of the type {source.content_type} with {source.size} bytes"
    )
    return f"{text}, {source.seconds:.1f} seconds long." if source.seconds else f"{text}."


def timed_words(text: str, seconds: float | None) -> list[dict[str, Any]]:
    """Return the words of a text with the times at which they are said, in seconds."""
    words = text.split()
    step = (seconds or _SECONDS_A_WORD * len(words)) / max(1, len(words))
    return [
        {
            "text": word,
            "start": round(step * number, 3),
            "end": round(step * (number + 1), 3),
            "type": "word",
        }
        for number, word in enumerate(words)
    ]
