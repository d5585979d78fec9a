"""Which class of error stands for which refusal of the service (contract §7.2, §8.2)."""

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
"""Which class stands for which HTTP status; any other 5xx is an ``InternalServerError``."""

UNPROCESSABLE_ERRORS: Final[dict[str, type[UnprocessableEntityError]]] = {
    "model_not_supported": ModelNotSupportedError,
    "no_available_model": ModelNotSupportedError,
    "model_not_found": ModelNotSupportedError,
    "model_unavailable": ModelNotSupportedError,
    "unsupported_content_type": UnsupportedContentTypeError,
    "model_not_support_capability": UnsupportedContentTypeError,
    "invalid_param": InvalidParameterError,
}
"""Which class stands for which code of a 422, older and newer names alike (contract §7.2, §8.2)."""


def error_class_for(status: int, code: str | None) -> type[APIStatusError]:
    """Return the class for an HTTP status and the service's code; unknown codes are data."""
    found = STATUS_ERRORS.get(status)
    if found is UnprocessableEntityError and code is not None:
        return UNPROCESSABLE_ERRORS.get(code, found)
    if found is not None:
        return found
    return InternalServerError if 500 <= status < 600 else APIStatusError  # noqa: PLR2004 a class of HTTP statuses needs no name
