"""The words of a simulated model."""

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
    """Compose the answer of choice ``index``: the numbers asked for, or a few kind sentences."""
    numbers = prompt.numbers
    if numbers is not None:
        return ", ".join(map(str, numbers))
    # Python's own hash of a text differs from one process to the next.
    mood = crc32(prompt.text.encode()) + index
    opener = _OPENERS[mood % len(_OPENERS)]
    closer = _CLOSERS[mood // len(_OPENERS) % len(_CLOSERS)]
    return " ".join(filter(None, (opener, *_remarks(prompt), closer)))


def thinking(prompt: Prompt) -> str:
    """Compose what a thinking model thinks before it answers."""
    numbers = prompt.numbers
    if numbers is not None:
        plan = f"So I begin with {numbers[0]} and end with {numbers[-1]}."
    else:
        plan = "I want to be brief, friendly and clear."
    return f'The user says "{prompt.excerpt}". {plan} Now let me put that into words.'


def _remarks(prompt: Prompt) -> tuple[str, ...]:
    quoted = f'You wrote "{prompt.excerpt}".' if prompt.text.strip() else "You sent no text."
    media = f"I have looked at {_listed(prompt.media)}." if prompt.media else ""
    if prompt.tool_result is None:
        return quoted, media
    return quoted, media, f'The tool answered "{excerpt(prompt.tool_result)}".'


def _listed(media: Mapping[str, int]) -> str:
    """Say "your image and your 2 files"."""
    parts = [
        f"your {_NAMES.get(kind, kind)}"
        if number == 1
        else f"your {number} {_NAMES.get(kind, kind)}s"
        for kind, number in media.items()
    ]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
