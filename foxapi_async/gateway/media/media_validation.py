"""Checks of media requests: the rules of the catalog, and the links that they name (§8.2, §10)."""

from collections.abc import Iterator
from typing import Final, cast
from urllib.parse import urlsplit

from aiohttp import web
from msgspec import DecodeError

from foxapi_async._catalog.check_media import check_media
from foxapi_async._catalog.media_models import media_models
from foxapi_async._wire.base import is_object
from foxapi_async._wire.media_request import MediaKind, MediaRequest, decode_media_request
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.files import DeadLinkError, FileLinks

# What every model takes; the catalog has these for a part of the models only.
_COMMON: Final = frozenset({"prompt", "callback_url", "model_params"})
_MAX_OUTPUTS: Final = 10
_MAX_SHOWN: Final = 80
# What a stored file must be, by a word in the name of the parameter that has its link.
_TYPES: Final = {
    "image": ("image/",),
    "mask": ("image/",),
    "video": ("video/",),
    "audio": ("audio/", "video/"),
    "voice": ("audio/", "video/"),
    "pdf": ("application/pdf",),
}
_ARCHIVE: Final = "archive"


def decode(kind: MediaKind, body: bytes, value: object) -> MediaRequest:
    """Decode a JSON body.

    Args:
        kind: What the endpoint makes.
        body: The body.
        value: What ``parse_json`` has returned for it.

    Returns:
        The request.

    Raises:
        APIError: 422, when the body is no object or names no model.
    """
    if not is_object(value):
        raise APIError.invalid("body", "the body must be an object")
    if not isinstance(value.get("model"), str):
        raise APIError.invalid("model", "`model` is required, as a text")
    try:
        return decode_media_request(kind, body)
    except DecodeError as error:
        raise APIError(400, f"the body is not valid JSON: {error}") from None


async def validate(
    request: MediaRequest, path: str, links: FileLinks, sent: web.BaseRequest
) -> None:
    """Check a request.

    Args:
        request: The request.
        path: The path that it was sent to.
        links: The links of the gateway.
        sent: The HTTP request.

    Raises:
        APIError: 422, for the first rule that the request breaks.
    """
    for violation in check_media(request.kind, request.model, request.params, strict=True):
        if violation.level == "error":
            raise APIError.from_violation(violation)
    model = media_models()[request.model]
    if model.path != path:
        raise APIError.invalid("model", f"model {request.model} is served at {model.path}")
    known = _COMMON | model.params.keys()
    unknown = [name for name in request.params if name not in known]
    if unknown:
        raise APIError(
            422,
            f"model {request.model} has no parameter {', '.join(unknown)[:_MAX_SHOWN]!r}; leave it "
            "out",
            code="unsupported_advanced_options",
            param=unknown[0],
        )
    outputs = request.params.get("num_outputs", 1)
    if isinstance(outputs, int) and not 1 <= outputs <= _MAX_OUTPUTS:
        raise APIError.invalid("num_outputs", f"num_outputs must be 1 to {_MAX_OUTPUTS}")
    for name, url in _urls(request):
        await _check_url(name, url, links, sent)


def _urls(request: MediaRequest) -> Iterator[tuple[str, str]]:
    for name, value in request.params.items():
        if name.endswith("_url") and isinstance(value, str):
            yield name, value
        elif name.endswith("_urls") and isinstance(value, list):
            for item in cast("list[object]", value):
                if isinstance(item, str):
                    yield name, item


async def _check_url(name: str, url: str, links: FileLinks, sent: web.BaseRequest) -> None:
    """Check that a URL can be one, and that a link of the gateway leads to a file of its kind."""
    if not _is_url(url):
        message = f"{name}: {url[:_MAX_SHOWN]!r} is not an http(s) URL or a data URL"
        raise APIError(422, message, code="invalid_image_url", param=name)
    try:
        file = await links.find(url, sent)
    except DeadLinkError as error:
        raise APIError(422, f"{name}: {error}", code="invalid_image_url", param=name) from None
    wanted = next((types for word, types in _TYPES.items() if word in name), None)
    if file is None or wanted is None or _ARCHIVE in name:
        return
    if not file.content_type.startswith(wanted):
        raise APIError(
            422,
            f"{name}: the file is {file.content_type}, not {' or '.join(wanted)}",
            code="invalid_file_type",
            param=name,
        )


def _is_url(url: str) -> bool:
    if url[:5].lower() == "data:":
        return "," in url
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
