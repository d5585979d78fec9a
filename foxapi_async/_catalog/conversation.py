"""The rules of a conversation, whatever model it is for: OpenAI's, and a guard against typos."""

from collections.abc import Iterator
from typing import Final

from foxapi_async._catalog.models import CAPABILITIES
from foxapi_async._wire.base import WireStruct
from foxapi_async._wire.request import ContentBlock, MediaURL, Message, member_names
from foxapi_async._wire.violation import Violation

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_ROLES: Final = frozenset(ROLES)
_CONTENT_REQUIRED: Final = frozenset({"system", "developer", "user", "tool"})

# What OpenAI and those who copy it know besides the members that have a field of their own.
_MESSAGE: Final = member_names(Message) | {
    "annotations",
    "audio",
    "cache_control",
    "extra_content",
    "function_call",
    "images",
    "parsed",
    "partial",
    "prefix",
    "provider_specific_fields",
    "reasoning",
    "reasoning_details",
    "signature",
    "thinking",
    "thinking_blocks",
}
_BLOCK: Final = member_names(ContentBlock) | {"cache_control", "detail", "signature"}
_MEDIA: Final = member_names(MediaURL) | {"detail", "format", "filename"}
_SHOWN: Final = 80
# Each look for a similar name takes a third of a millisecond.
_MOST_NAMES: Final = 100
_ALIKE: Final = 0.8


def check_conversation(messages: tuple[Message, ...]) -> Iterator[Violation]:
    """Yield what is wrong with the messages as such.

    Members that nobody knows are warnings: a service may have learnt them since. In what a model
    has said, in blocks and in media, which each provider extends, only a misspelt name is one.
    """
    if not messages:
        yield _invalid("messages", "give at least one message")
        return
    is_silent = True
    spelling = _Spelling()
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if message.role not in ROLES:
            yield _invalid(f"{where}.role", _unknown_role(message.role, spelling))
        if not message.content and message.content != "" and message.role in _CONTENT_REQUIRED:
            yield _invalid(f"{where}.content", f"a {message.role} message needs its content")
            is_silent = False
        is_silent = is_silent and not _has_content(message)
        yield from _misspelled_members(message, where, spelling)
    if is_silent:
        yield _invalid("messages", "the conversation is empty: every message is blank")


def _has_content(message: Message) -> bool:
    if isinstance(message.content, str):
        said = bool(message.content) and not message.content.isspace()
    else:
        said = any(
            block.type != "text" or not isinstance(block.text, str) or block.text.strip()
            for block in message.content or ()
        )
    return said or bool(message.tool_calls) or bool(message.extra)


def _misspelled_members(message: Message, where: str, spelling: "_Spelling") -> Iterator[Violation]:
    if message.extra:
        open_ended = message.role == "assistant"
        yield from _unknown_members(message, _MESSAGE, where, spelling, only_misspelt=open_ended)
    if not message.content or isinstance(message.content, str):
        return
    for position, block in enumerate(message.content):
        place = f"{where}.content[{position}]"
        yield from _unknown_members(block, _BLOCK, place, spelling, only_misspelt=True)
        media = getattr(block, block.type) if block.type in CAPABILITIES else None
        if isinstance(media, MediaURL):
            place = f"{place}.{block.type}"
            yield from _unknown_members(media, _MEDIA, place, spelling, only_misspelt=True)


def _unknown_members(
    shape: WireStruct,
    known: frozenset[str],
    where: str,
    spelling: "_Spelling",
    *,
    only_misspelt: bool,
) -> Iterator[Violation]:
    for name in shape.extra:
        if name in known:
            continue
        near = spelling.nearest(name, known)
        if near is None and only_misspelt:
            continue
        hint = f"did you mean {near!r}?" if near else f"known are {', '.join(sorted(known))}"
        yield Violation(
            code="invalid_param",
            param=f"{where}.{name[:_SHOWN]}",
            message=f"unknown member {name[:_SHOWN]!r}; {hint}",
            level="warning",
        )


def _unknown_role(role: str, spelling: "_Spelling") -> str:
    near = spelling.nearest(role, _ROLES)
    hint = f"did you mean {near!r}?" if near else f"choose one of {', '.join(ROLES)}"
    return f"unknown role {role[:_SHOWN]!r}; {hint}"


class _Spelling:
    """Finds what a name was meant to be: each name is looked for once, the first hundred alone."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, frozenset[str]], str | None] = {}

    def nearest(self, name: str, known: frozenset[str]) -> str | None:
        """Return the known name that is most like ``name``; ``None`` if none is, or after many."""
        key = name[:_SHOWN].lower(), known
        if key not in self._found and len(self._found) < _MOST_NAMES:
            # Looked for in errors alone, so nobody else pays for the import.
            from difflib import get_close_matches

            near = get_close_matches(key[0], list(known), n=1, cutoff=_ALIKE)
            self._found[key] = near[0] if near else None
        return self._found.get(key)


def _invalid(param: str, message: str) -> Violation:
    return Violation(code="invalid_param", param=param, message=message)
