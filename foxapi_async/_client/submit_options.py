"""The keywords of a submit that are not part of the request."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from msgspec import Struct
from msgspec.structs import replace

from foxapi_async._journal import EntryId
from foxapi_async._wire.violation import Violation
from foxapi_async.errors import RequestValidationError

_MAX_KEY_LENGTH: Final = 512
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4000}")
# The transport sets the headers of the connection, the key and the body.
_OWN_HEADERS: Final = frozenset(
    {
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class SubmitOptions(Struct, frozen=True, kw_only=True):
    """How one request is submitted."""

    key: str | None = None
    """The user's own name of the input."""
    retry_failed: bool = False
    """Whether a key whose task failed or was cancelled is submitted again."""
    replaces: EntryId | None = None
    """The journal entry that this submission replaces."""
    headers: Mapping[str, str] | None = None
    """Headers that are sent in addition."""

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "SubmitOptions":
        """Check the keywords of a submit.

        Raises:
            RequestValidationError: A key, a header or ``retry_failed`` is not usable.
        """
        options = _NOTHING_GIVEN
        if (key := validate_key(params.get("key"))) is not None:
            options = replace(options, key=key, retry_failed=_retry_failed(params, key))
        elif params.get("retry_failed"):
            _retry_failed(params, None)
        if (headers := params.get("extra_headers")) is not None:
            options = replace(options, headers=_validate_headers(headers))
        return options


def validate_key(key: object) -> str | None:
    """Return ``key`` if a journal can hold it: a mistyped key would be paid for twice."""
    if key is None:
        return None
    if not isinstance(key, str):
        raise _rejected("key", f"must be a text or None, got {type(key).__name__}: use str(...)")
    # A subclass of str, such as a member of a StrEnum, becomes a plain text.
    key = str.__str__(key)
    if not 1 <= len(key) <= _MAX_KEY_LENGTH or "\0" in key:
        raise _rejected("key", f"must have 1 to {_MAX_KEY_LENGTH} characters, none of them NUL")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise _rejected("key", "is not valid Unicode: it has half of a surrogate pair") from None
    return key


def numbered_key(key: str, number: int) -> str:
    """Return the key of a further submission for the input of ``key``: ``key#2`` is the second."""
    return key if number == 1 else f"{key}#{number}"


def _retry_failed(params: Mapping[str, Any], key: str | None) -> bool:
    retry_failed = params.get("retry_failed", False)
    if not isinstance(retry_failed, bool):
        raise _rejected("retry_failed", f"must be True or False, got {type(retry_failed).__name__}")
    if retry_failed and key is None:
        raise _rejected("retry_failed", "needs key=...: without one every submission is a new one")
    return retry_failed


def _validate_headers(headers: object) -> Mapping[str, str]:
    if not isinstance(headers, Mapping):
        raise _rejected("extra_headers", f"must be a dict of texts, got {type(headers).__name__}")
    checked: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", headers).items():
        where = f"extra_headers[{str(name)[:100]!r}]"
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise _rejected(where, "is not the name of an HTTP header")
        if name.lower() in _OWN_HEADERS or name.lower().startswith("proxy-"):
            raise _rejected(where, "is set by the SDK: it belongs to the key, body or connection")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise _rejected(where, "must be a text of at most 4,000 Latin-1 characters in one line")
        checked[name] = value
    return checked


def _rejected(param: str, message: str) -> RequestValidationError:
    return RequestValidationError([Violation(code="invalid_param", param=param, message=message)])


_NOTHING_GIVEN: Final = SubmitOptions()
