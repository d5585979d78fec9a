"""The rules for requests with ``prompt`` in place of a conversation (contract §3.4)."""

from collections.abc import Iterator
from typing import Final

from msgspec import UNSET, UnsetType

from foxapi_async._catalog.models import CatalogModel
from foxapi_async._wire.request import MEDIA_MEMBERS, PromptRequest
from foxapi_async._wire.violation import Violation

MAX_PROMPT: Final = 100_000
MAX_SYSTEM_PROMPT: Final = 10_000
MAX_URLS: Final = 10
MAX_TEMPERATURE: Final = 2


def member_violations(request: PromptRequest) -> Iterator[Violation]:
    """Yield the violations of the members that hold for every model."""
    given = [name for name in MEDIA_MEMBERS if getattr(request, name) is not UNSET]
    if len(given) > 1:
        yield _invalid(given[1], f"give either `{given[0]}` or `{given[1]}`, not both")
    if request.prompt is not UNSET:
        if not 1 <= len(request.prompt) <= MAX_PROMPT:
            yield _invalid(
                "prompt", f"must have 1 to {MAX_PROMPT:,} characters, got {len(request.prompt):,}"
            )
    elif "audio_url" not in given:
        yield _invalid("prompt", "`prompt` is required")
    yield from _url_violations("image_urls", request.image_urls)
    yield from _url_violations("video_urls", request.video_urls)
    if request.audio_url == "":
        yield _invalid("audio_url", "must not be empty")
    length = len(request.system_prompt or "")
    if length > MAX_SYSTEM_PROMPT:
        yield _invalid(
            "system_prompt", f"must have at most {MAX_SYSTEM_PROMPT:,} characters, got {length:,}"
        )
    if isinstance(request.max_tokens, int) and request.max_tokens < 1:
        yield _invalid("max_tokens", f"must be at least 1, got {request.max_tokens}")
    temperature = request.temperature
    if isinstance(temperature, int | float) and not 0 <= temperature <= MAX_TEMPERATURE:
        yield _invalid("temperature", f"must be 0 to {MAX_TEMPERATURE}, got {temperature}")


def media_violations(request: PromptRequest, model: CatalogModel) -> Iterator[Violation]:
    """Yield the violation of media that ``model`` does not take."""
    for name, content_type in MEDIA_MEMBERS.items():
        if getattr(request, name) is not UNSET and content_type not in model.content_types:
            yield Violation(
                code="unsupported_content_type",
                param=name,
                message=f"model {model.id} takes no {name!r}, only {', '.join(model.capabilities)}",
            )


def _url_violations(name: str, urls: tuple[str, ...] | UnsetType) -> Iterator[Violation]:
    if urls is UNSET:
        return
    if not 1 <= len(urls) <= MAX_URLS:
        yield _invalid(name, f"must have 1 to {MAX_URLS} URLs, got {len(urls):,}")
    elif "" in urls:
        yield _invalid(f"{name}[{urls.index('')}]", "must not be empty")


def _invalid(param: str, message: str) -> Violation:
    return Violation(code="invalid_param", param=param, message=message)
