"""The rules for requests, in the order in which the service applies them (contract §7.1)."""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import UNSET

from foxapi_async._catalog.check_prompt import media_violations, member_violations
from foxapi_async._catalog.models import CAPABILITIES, MODELS, CatalogModel
from foxapi_async._wire.base import WireStruct
from foxapi_async._wire.request import (
    ContentBlock,
    GenerationRequest,
    LLMRequest,
    MediaURL,
    Message,
    PromptRequest,
    member_names,
)
from foxapi_async._wire.suggestion import closest, suggestion
from foxapi_async._wire.violation import Violation

MIN_MAX_TOKENS: Final = 16
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


def check(request: LLMRequest, *, strict: bool = True) -> tuple[Violation, ...]:
    """Return all violations of ``request``, in the order in which the service reports them.

    Args:
        request: The request.
        strict: Whether a model outside the catalog is a violation, as for the service. A client
            may accept it, because the service may have new models.

    Returns:
        The violations; warnings are among them.
    """
    return tuple(violations(request, strict=strict))


def violations(
    request: LLMRequest,
    *,
    models: Mapping[str, CatalogModel] = MODELS,
    strict: bool = True,
) -> Iterator[Violation]:
    """Yield the violations that ``check`` returns one by one, because there may be very many.

    Args:
        request: The request.
        models: The rules of the known models, by id.
        strict: Whether a model that is not known is a violation.

    Yields:
        The next violation.
    """
    if not request.model:
        yield _invalid("model", "name a model")
    if isinstance(request, PromptRequest):
        yield from member_violations(request)
    else:
        yield from _message_violations(request.messages)
    model = models.get(request.model)
    if model is not None:
        yield from _model_violations(request, model)
    elif strict and request.model:
        known = ", ".join(models)
        yield Violation(
            code="model_not_supported",
            param="model",
            message=f"model {request.model[:_SHOWN]!r} is not supported; choose one of {known}",
        )


def _message_violations(messages: tuple[Message, ...]) -> Iterator[Violation]:
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
        has_text = bool(message.content) and not message.content.isspace()
    else:
        has_text = any(
            block.type != "text" or not isinstance(block.text, str) or block.text.strip()
            for block in message.content or ()
        )
    return has_text or bool(message.tool_calls) or bool(message.extra)


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
    struct: WireStruct,
    known: frozenset[str],
    where: str,
    spelling: "_SpellChecker",
    *,
    only_misspelt: bool,
) -> Iterator[Violation]:
    for name in struct.extra:
        if name in known:
            continue
        near = spelling.nearest(name, known)
        if near is None and only_misspelt:
            continue
        hint = suggestion(near, f"known are {', '.join(sorted(known))}")
        yield Violation(
            code="invalid_param",
            param=f"{where}.{name[:_SHOWN]}",
            message=f"unknown member {name[:_SHOWN]!r}; {hint}",
            level="warning",
        )


def _unknown_role(role: str, spelling: "_SpellChecker") -> str:
    near = spelling.nearest(role, _ROLES)
    hint = suggestion(near, f"choose one of {', '.join(ROLES)}")
    return f"unknown role {role[:_SHOWN]!r}; {hint}"


class _SpellChecker:
    """Finds similar known names; each name is searched once, and at most a hundred names."""

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


def _model_violations(request: LLMRequest, model: CatalogModel) -> Iterator[Violation]:
    if isinstance(request, PromptRequest):
        # The rules of models for max_tokens hold for conversations only (contract §3.4, §7.1).
        yield from media_violations(request, model)
        return
    yield from _content_violations(request, model)
    yield from _max_tokens_violations(request, model)


def _content_violations(request: GenerationRequest, model: CatalogModel) -> Iterator[Violation]:
    for number, message in enumerate(request.messages):
        for position, block in enumerate(message.blocks):
            where = f"messages[{number}].content[{position}]"
            if block.type not in model.content_types:
                yield Violation(
                    code="unsupported_content_type",
                    param=f"{where}.type",
                    message=f"model {model.id} takes no {block.type[:_SHOWN]!r} block, "
                    f"only {', '.join(model.content_types)}",
                )
            elif block.type in CAPABILITIES and getattr(block, block.type) is UNSET:
                yield _invalid(
                    f"{where}.{block.type}", f"a {block.type!r} block needs its {block.type!r}"
                )


def _max_tokens_violations(request: GenerationRequest, model: CatalogModel) -> Iterator[Violation]:
    given = None if request.max_tokens is UNSET else request.max_tokens
    if given is None:
        if model.max_tokens == "required":
            yield _invalid("max_tokens", f"model {model.id} requires max_tokens")
    elif model.max_tokens == "at_least_16" and given < MIN_MAX_TOKENS:
        yield _invalid(
            "max_tokens",
            f"model {model.id} takes max_tokens of at least {MIN_MAX_TOKENS}, got {given}",
        )


def _invalid(param: str, message: str) -> Violation:
    return Violation(code="invalid_param", param=param, message=message)
