"""The rules for requests, in the order in which the service applies them (contract §7.1)."""

from collections.abc import Iterator

from msgspec import UNSET

from foxapi_async._catalog.conversation import check_conversation
from foxapi_async._catalog.models import CAPABILITIES, MODELS, CatalogModel
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.violation import Violation

MIN_MAX_TOKENS = 16
_SHOWN = 80


def check(request: GenerationRequest, *, strict: bool = True) -> tuple[Violation, ...]:
    """Return all violations of ``request``, in the order in which the service reports them.

    Args:
        request: The request.
        strict: Whether a model outside the catalog is a violation, as for the service. A client
            may accept it, because the service may have new models.

    Returns:
        The violations; warnings are among them.
    """
    return tuple(violations(request, strict=strict))


def violations(request: GenerationRequest, *, strict: bool = True) -> Iterator[Violation]:
    """Yield the violations that ``check`` returns one by one, because there may be very many."""
    if not request.model:
        yield _invalid("model", "name a model")
    yield from check_conversation(request.messages)
    model = MODELS.get(request.model)
    if model is not None:
        yield from _content_violations(request, model)
        yield from _max_tokens_violations(request, model)
    elif strict and request.model:
        known = ", ".join(MODELS)
        yield Violation(
            code="model_not_supported",
            param="model",
            message=f"model {request.model[:_SHOWN]!r} is not supported; choose one of {known}",
        )


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
