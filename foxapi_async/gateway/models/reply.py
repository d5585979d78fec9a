"""Texts of the simulated models."""

from collections.abc import Mapping
from typing import Final
from zlib import crc32

from foxapi_async.gateway.models.prompt import Prompt, excerpt

_OPENERS: Final = (
    "Happy to help!",
    "Thank you for asking.",
    "What a pleasant question.",
    "Let us see.",
)
_CLOSERS: Final = (
    "Here is my short answer: it is well worth a closer look.",
    "In a sentence: begin small, look twice, and go on from there.",
    "My advice is to take it one step at a time.",
    "There is more to say, and I will gladly go on if you ask.",
)
_NAMES: Final = {
    "image_url": "image",
    "video_url": "video",
    "audio_url": "recording",
    "file_url": "file",
}


def reply(prompt: Prompt, index: int) -> str:
    """Return the text of choice ``index``: the requested numbers, or a few sentences."""
    numbers = prompt.numbers
    if numbers is not None:
        return ", ".join(map(str, numbers))
    # `hash()` of a text differs between processes.
    digest = crc32(prompt.text.encode()) + index
    opener = _OPENERS[digest % len(_OPENERS)]
    closer = _CLOSERS[digest // len(_OPENERS) % len(_CLOSERS)]
    return " ".join(filter(None, (opener, *_remarks(prompt), closer)))


def thinking(prompt: Prompt) -> str:
    """Return the reasoning of a thinking model."""
    numbers = prompt.numbers
    if numbers is not None:
        plan = f"So I begin with {numbers[0]} and end with {numbers[-1]}."
    else:
        plan = "I want to be brief, friendly and clear."
    return f'The user says "{prompt.excerpt}". {plan} Now let me put that into words.'


def _remarks(prompt: Prompt) -> tuple[str, ...]:
    quoted = f'You wrote "{prompt.excerpt}".' if prompt.text.strip() else "You sent no text."
    media = f"I have looked at {_enumerate(prompt.media)}." if prompt.media else ""
    if prompt.tool_result is None:
        return quoted, media
    return quoted, media, f'The tool answered "{excerpt(prompt.tool_result)}".'


def _enumerate(media: Mapping[str, int]) -> str:
    """Return a text such as "your image and your 2 files"."""
    parts = [
        f"your {_NAMES.get(kind, kind)}"
        if number == 1
        else f"your {number} {_NAMES.get(kind, kind)}s"
        for kind, number in media.items()
    ]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
