"""The one border where errors of aiohttp, of TLS and of the system become ours."""

import re
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

from foxapi_async._protocol.retry import FailureFacts
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

_TEXT: Final = 400
_USERINFO: Final = re.compile(r"//[^/\s@]*@")

_BAD_REQUEST: Final = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError)
_UNTRUSTED: Final = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
    ssl.SSLCertVerificationError,
)
# Raised while a connection is made, so before a byte of any request.
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
"""All that can go wrong below the border; nothing else is caught, so that a bug stays a bug.

``TimeoutError`` and the errors of TLS are kinds of ``OSError``. With ``ValueError`` aiohttp refuses
a host name that cannot be encoded.
"""


class FailedAttempt(Struct, frozen=True):
    """An attempt that failed: the error for the user, and what the retry decision has to know."""

    error: FoxAPIError
    facts: FailureFacts


def translate(error: Exception, *, sent: bool | None, account: "Account") -> FoxAPIError:
    """Return our error for one of ``TRANSPORT_ERRORS``: its class name and text, the key masked.

    ``sent`` says whether a byte of the body may have left. ``None`` is for requests without a body:
    then the kind of the error tells.
    """
    if sent is None:
        sent = not isinstance(error, _UNCONNECTED)
    origin = account.origin
    told = _told(error, account)
    # Before the others: a certificate error of the standard library is a ValueError too.
    if isinstance(error, _UNTRUSTED):
        what = f"the certificate of {origin} is not trusted: {told}"
        return APIConnectionError(what, sent=sent, trusted=False)
    if isinstance(error, _BAD_REQUEST) and not sent:
        return ConfigError(f"no request can be made to {origin}: {told}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return APITimeoutError(
            f"no connection to {origin} within Timeouts.connect: {told}", sent=sent
        )
    if isinstance(error, TimeoutError):
        return APITimeoutError(f"no complete answer from {origin} in time: {told}", sent=sent)
    if isinstance(error, _UNCONNECTED) or not sent:
        return APIConnectionError(f"cannot reach {origin}: {told}", sent=sent)
    return APIConnectionError(f"no complete answer from {origin}: {told}", sent=sent)


def from_exception(
    error: Exception, *, sent: bool | None, account: "Account", body: str = ""
) -> FailedAttempt:
    """Translate, and keep what the retry decision has to know, and how a cut answer began."""
    ours = translate(error, sent=sent, account=account)
    if isinstance(ours, APIConnectionError):
        ours.body = body
    reached = ours.sent if isinstance(ours, APIConnectionError) else bool(sent)
    return FailedAttempt(
        ours,
        FailureFacts(
            never_sent=not reached,
            permanent=isinstance(error, (*_BAD_REQUEST, *_UNTRUSTED)),
        ),
    )


def from_status(error: APIStatusError) -> FailedAttempt:
    """Return the failure that an answer without success is."""
    return FailedAttempt(
        error,
        FailureFacts(
            status=error.status,
            rate_limited=error.enveloped and error.type == "rate_limit_error",
            retry_after=error.retry_after,
        ),
    )


def from_body(error: InvalidResponseError, *, permanent: bool = False) -> FailedAttempt:
    """Return the failure that a success is which cannot be read."""
    return FailedAttempt(
        error, FailureFacts(status=error.status, unusable=True, permanent=permanent)
    )


def asked(error: FoxAPIError, account: "Account", method: str, path: str) -> FoxAPIError:
    """Return the error of a whole call, which now says what was asked; the query may be secret."""
    url = account.redact(f"{account.base}{path}")
    error.args = (f"{error} [{method} {url}]",)
    return error


def _told(error: Exception, account: "Account") -> str:
    text = " ".join(_plain(error, account).split())
    # A URL of a proxy may hold a password.
    text = _USERINFO.sub("//", text)
    return account.redact(f"{type(error).__name__}: {text}" if text else type(error).__name__)[
        :_TEXT
    ]


def _plain(error: Exception, account: "Account") -> str:
    """Return the text of the error, without the word of aiohttp's that speaks of TLS in each."""
    text = str(error)
    if account.base.startswith("http:"):
        text = text.replace(" ssl:default", "")
    return text
