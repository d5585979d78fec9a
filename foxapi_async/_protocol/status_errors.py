"""Classifies HTTP statuses and maps them to error classes (contract §7.2, §8.2)."""

from typing import Final

from foxapi_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentTooLargeError,
    InsufficientQuotaError,
    InternalServerError,
    InvalidParameterError,
    ModelNotSupportedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    UnprocessableEntityError,
    UnsupportedContentTypeError,
)

UNCONFIRMED_STATUSES: Final = frozenset({408, 425})
"""Statuses of proxies that time out or refuse early data; the service may have seen the request."""

TRANSIENT_STATUSES: Final = UNCONFIRMED_STATUSES | {429}
"""The 4xx statuses after which the same request may succeed."""

STATUS_ERRORS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientQuotaError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: ContentTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    503: ServiceUnavailableError,
}
"""The error class of each HTTP status. Any other 5xx is an ``InternalServerError``."""

UNPROCESSABLE_ERRORS: Final[dict[str, type[UnprocessableEntityError]]] = {
    "model_not_supported": ModelNotSupportedError,
    "no_available_model": ModelNotSupportedError,
    "model_not_found": ModelNotSupportedError,
    "model_unavailable": ModelNotSupportedError,
    "unsupported_content_type": UnsupportedContentTypeError,
    "model_not_support_capability": UnsupportedContentTypeError,
    "invalid_param": InvalidParameterError,
}
"""The error class of each code of a 422, with older and newer codes (contract §7.2, §8.2)."""


def error_class_for(status: int, code: str | None) -> type[APIStatusError]:
    """Return the error class for an HTTP status and the code of the service."""
    found = STATUS_ERRORS.get(status)
    if found is UnprocessableEntityError and code is not None:
        return UNPROCESSABLE_ERRORS.get(code, found)
    if found is not None:
        return found
    return InternalServerError if is_server_error(status) else APIStatusError


def is_success(status: int) -> bool:
    """Tell whether an HTTP status is a 2xx."""
    return 200 <= status < 300  # noqa: PLR2004


def is_server_error(status: int) -> bool:
    """Tell whether an HTTP status is a 5xx."""
    return 500 <= status < 600  # noqa: PLR2004
