"""The rules for messages that hold for every model, and a check for misspelt members."""

from collections.abc import Iterator
from typing import Final

from foxapi_async._catalog.models import CAPABILITIES
from foxapi_async._wire.base import WireStruct
from foxapi_async._wire.request import ContentBlock, MediaURL, Message, member_names
from foxapi_async._wire.suggestion import closest
from foxapi_async._wire.violation import Violation

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_ROLES: Final = frozenset(ROLES)
_CONTENT_REQUIRED: Final = frozenset({"system", "developer", "user", "tool"})

# The known members of OpenAI and compatible services that have no field of their own.
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
# Each search for a similar name takes a third of a millisecond.
_MAX_LOOKUPS: Final = 100
_SIMILARITY: Final = 0.8


def check_conversation(messages: tuple[Message, ...]) -> Iterator[Violation]:
    """Yield the violations of the messages that hold for every model.

    An unknown member is a warning, because the service may know it. In assistant messages, content
    parts and media, which providers extend, only a misspelt member is a warning.
    """
    if not messages:
        yield _invalid("messages", "give at least one message")
        return
    is_blank = True
    spelling = _SpellChecker()
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if message.role not in ROLES:
            yield _invalid(f"{where}.role", _unknown_role(message.role, spelling))
        if not message.content and message.content != "" and message.role in _CONTENT_REQUIRED:
            yield _invalid(f"{where}.content", f"a {message.role} message needs its content")
            is_blank = False
        is_blank = is_blank and not _has_content(message)
        yield from _misspelled_members(message, where, spelling)
    if is_blank:
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


def _misspelled_members(
    message: Message, where: str, spelling: "_SpellChecker"
) -> Iterator[Violation]:
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
    spelling: "_SpellChecker",
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


def _unknown_role(role: str, spelling: "_SpellChecker") -> str:
    near = spelling.nearest(role, _ROLES)
    hint = f"did you mean {near!r}?" if near else f"choose one of {', '.join(ROLES)}"
    return f"unknown role {role[:_SHOWN]!r}; {hint}"


class _SpellChecker:
    """Finds what misspelt names stand for; each name is looked up once, and a hundred in all."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, frozenset[str]], str | None] = {}

    def nearest(self, name: str, known: frozenset[str]) -> str | None:
        """Return the known name that is most like ``name``; ``None`` if there is none.

        After a hundred names the result is ``None`` too.
        """
        key = name[:_SHOWN].lower(), known
        if key not in self._found and len(self._found) < _MAX_LOOKUPS:
            self._found[key] = closest(key[0], known, similarity=_SIMILARITY)
        return self._found.get(key)


def _invalid(param: str, message: str) -> Violation:
    return Violation(code="invalid_param", param=param, message=message)
