"""Errors of aiohttp, of TLS and of the operating system become errors of this package."""

import re
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

from foxapi_async._protocol.retry import FailureFacts
from foxapi_async._transport.response import HTTPResponse, status_error
from foxapi_async._wire.error_body import EXCERPT_LENGTH
from foxapi_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigError,
    FoxAPIError,
    InvalidResponseError,
)

if TYPE_CHECKING:
    from foxapi_async._transport.account import Account

_USERINFO: Final = re.compile(r"//[^/\s@]*@")

_BAD_REQUEST: Final = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError)
_UNTRUSTED: Final = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
    ssl.SSLCertVerificationError,
)
# Raised while a connection is made: no byte of a request has left.
_UNCONNECTED: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    *_UNTRUSTED,
    *_BAD_REQUEST,
)

TRANSPORT_ERRORS: Final[tuple[type[Exception], ...]] = (
    aiohttp.ClientError,
    HttpProcessingError,
    aiohttp.EofStream,
    OSError,
    EOFError,
    ValueError,
)
"""The errors that a request can end with. Other exceptions are bugs and are not caught.

``TimeoutError`` and the errors of TLS are subclasses of ``OSError``. aiohttp raises ``ValueError``
for a host name that cannot be encoded.
"""


class FailedAttempt(Struct, frozen=True):
    """One attempt that failed."""

    error: FoxAPIError
    """The error to raise if no further attempt is made."""
    facts: FailureFacts
    """What the retry decision depends on."""


def translate(
    error: Exception, *, sent: bool | None, account: "Account", origin: str | None = None
) -> FoxAPIError:
    """Translate one of ``TRANSPORT_ERRORS``.

    The new text has the class name and the text of the error, with the API key masked.

    Args:
        error: The error.
        sent: Whether a byte of the body may have left. ``None`` for a request without a body: then
            the class of the error says whether the request may have left.
        account: The account of the request.
        origin: Where the request went; the origin of the account by default.
    """
    if sent is None:
        sent = not isinstance(error, _UNCONNECTED)
    origin = origin or account.origin
    text = _error_text(error, account)
    # First: a certificate error of the standard library is a ValueError too.
    if isinstance(error, _UNTRUSTED):
        what = f"the certificate of {origin} is not trusted: {text}"
        return APIConnectionError(what, sent=sent, trusted=False)
    if isinstance(error, _BAD_REQUEST) and not sent:
        return ConfigError(f"no request can be made to {origin}: {text}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return APITimeoutError(
            f"no connection to {origin} within Timeouts.connect: {text}", sent=sent
        )
    if isinstance(error, TimeoutError):
        return APITimeoutError(f"no complete response from {origin} in time: {text}", sent=sent)
    if isinstance(error, _UNCONNECTED) or not sent:
        return APIConnectionError(f"cannot reach {origin}: {text}", sent=sent)
    return APIConnectionError(f"no complete response from {origin}: {text}", sent=sent)


def from_exception(
    error: Exception, *, sent: bool | None, account: "Account", body: str = ""
) -> FailedAttempt:
    """Build the failure for an attempt that got no complete response; ``body`` is its excerpt."""
    translated = translate(error, sent=sent, account=account)
    if isinstance(translated, APIConnectionError):
        translated.body = body
        sent = translated.sent
    return FailedAttempt(
        translated,
        FailureFacts(
            never_sent=not sent,
            permanent=isinstance(error, (*_BAD_REQUEST, *_UNTRUSTED)),
        ),
    )


def from_status(error: APIStatusError) -> FailedAttempt:
    """Build the failure for a response that is not a 2xx."""
    return FailedAttempt(
        error,
        FailureFacts(
            status=error.status,
            rate_limited=error.enveloped and error.type == "rate_limit_error",
            retry_after=error.retry_after,
        ),
    )


def from_body(error: InvalidResponseError, *, permanent: bool = False) -> FailedAttempt:
    """Build the failure for a 2xx response that cannot be decoded."""
    return FailedAttempt(
        error, FailureFacts(status=error.status, unusable=True, permanent=permanent)
    )


def request_error(
    failure: FoxAPIError | HTTPResponse, account: "Account", method: str, path: str
) -> FoxAPIError:
    """Return the error to raise for a failed request, with the request in its text.

    The query is left out, because it may be secret. Raise the error outside the ``except`` block
    of an aiohttp error: that error holds the request's headers, and must not be the context.
    """
    error = status_error(failure) if isinstance(failure, HTTPResponse) else failure
    url = account.redact(f"{account.base}{path}")
    error.args = (f"{error} [{method} {url}]",)
    return error


def _error_text(error: Exception, account: "Account") -> str:
    text = str(error)
    if account.base.startswith("http:"):
        # aiohttp writes it into the text of every connection error.
        text = text.replace(" ssl:default", "")
    # The URL of a proxy may hold a password.
    text = _USERINFO.sub("//", " ".join(text.split()))
    name = type(error).__name__
    return account.redact(f"{name}: {text}" if text else name)[:EXCERPT_LENGTH]
