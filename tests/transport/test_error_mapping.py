"""Every error of aiohttp, of TLS and of the system is translated."""

import asyncio
import errno
import pickle
import pkgutil
import socket
import ssl
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from foxapi_async._protocol.retry import Effect, is_ambiguous
from foxapi_async._transport import Account, translate
from foxapi_async._transport.error_mapping import TRANSPORT_ERRORS, from_exception
from foxapi_async.errors import APIConnectionError, APITimeoutError, ConfigError, FoxAPIError

KEY = "sk-0123456789abcdef"
ACCOUNT = Account.resolve(KEY)

# No request of this package raises these: other parts of aiohttp, or no errors at all.
OUT_OF_REACH = {
    "aiohttp._websocket": "WebSockets only",
    "aiohttp.client_exceptions.WSMessageTypeError": "the same",
    "aiohttp.payload.LookupError": "bodies of an unknown type; ours is a payload already",
    "aiohttp.test_utils": "tests of aiohttp applications",
    "aiohttp.web": "the server's side",
}

URL_SENT = URL(f"https://api.foxapi.cc/?key={KEY}")
INFO = RequestInfo(
    URL_SENT, "POST", CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {KEY}"})), URL_SENT
)
PEER = ConnectionKey("api.foxapi.cc", 443, True, True, None, None, None, None)
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    ("path", PEER, REFUSED),
    (PEER, REFUSED),
    (INFO, ()),
    (b"expected", b"got", "api.foxapi.cc", 443),
    (f"a message with {KEY}",),
    (),
)


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    """Yield a class and all its subclasses."""
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


def raised_by_aiohttp() -> list[type[Exception]]:
    """Find every exception class that any module of aiohttp defines."""
    found: set[type[Exception]] = set()
    for module in pkgutil.iter_modules(aiohttp.__path__, "aiohttp."):
        if not module.name.startswith(("aiohttp.web", "aiohttp.worker", "aiohttp.pytest_plugin")):
            for value in vars(import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, Exception):
                    found.update(
                        kind for kind in subclasses(value) if not issubclass(kind, Warning)
                    )
    return sorted(
        (kind for kind in found if kind.__module__.startswith("aiohttp")), key=lambda x: x.__name__
    )


def build(kind: type[Exception]) -> Exception:
    """Build an instance whose text contains the key, whatever its constructor takes."""
    for arguments in ARGUMENTS:
        try:
            error = kind(*arguments)
            str(error)
        except (TypeError, AttributeError):
            continue
        return error
    message = f"teach this test how to build {kind.__qualname__}"
    raise AssertionError(message)


def is_out_of_reach(kind: type[Exception]) -> bool:
    """Whether no request of this package can raise it."""
    return f"{kind.__module__}.{kind.__qualname__}".startswith(tuple(OUT_OF_REACH))


# Every exception class is translated.


def test_the_walk_finds_them() -> None:
    """The search finds the classes that aiohttp documents."""
    found = set(raised_by_aiohttp())
    assert set(subclasses(aiohttp.ClientError)) <= found
    assert set(subclasses(http_exceptions.HttpProcessingError)) <= found
    assert {aiohttp.EofStream, client_exceptions.ClientPayloadError} <= found


@pytest.mark.parametrize("kind", raised_by_aiohttp(), ids=lambda kind: kind.__name__)
def test_every_error_class_aiohttp(kind: type[Exception]) -> None:
    """Every exception class of aiohttp is translated, or no request can raise it."""
    if is_out_of_reach(kind):
        return
    assert issubclass(kind, TRANSPORT_ERRORS), "map it in _transport/error_mapping.py"
    for sent in (True, False, None):
        ours = translate(build(kind), sent=sent, account=ACCOUNT)
        assert isinstance(ours, APIConnectionError | ConfigError)
        assert kind.__name__ in str(ours)
        assert KEY not in f"{ours} {ours!r} {vars(ours)}"
        assert str(pickle.loads(pickle.dumps(ours))) == str(ours)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENETUNREACH, "unreachable"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        BrokenPipeError(errno.EPIPE, "pipe"),
        TimeoutError(errno.ETIMEDOUT, "timed out"),
        socket.gaierror(socket.EAI_NONAME, "unknown"),
        ssl.SSLError(1, "[SSL: BAD_RECORD] bad"),
        ssl.SSLEOFError(8, "eof"),
        ssl.SSLZeroReturnError(6, "closed"),
        ssl.SSLCertVerificationError(1, "self-signed"),
        asyncio.IncompleteReadError(b"", 1),
        asyncio.TimeoutError(),  # noqa: UP041 that is what aiohttp calls it
        UnicodeError("label too long"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_class_system(error: Exception) -> None:
    """Every error of the system, of TLS and of asyncio is translated."""
    assert isinstance(error, TRANSPORT_ERRORS)
    assert isinstance(translate(error, sent=True, account=ACCOUNT), APIConnectionError)


def test_cancellation_is_no_fault() -> None:
    """A cancellation is not translated."""
    assert not issubclass(asyncio.CancelledError, TRANSPORT_ERRORS)


# The translation of each class


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aiohttp.ConnectionTimeoutError(), APITimeoutError),
        (aiohttp.SocketTimeoutError(), APITimeoutError),
        (aiohttp.ServerTimeoutError(), APITimeoutError),
        (TimeoutError(), APITimeoutError),
        (aiohttp.ServerDisconnectedError(), APIConnectionError),
        (aiohttp.ClientPayloadError("half"), APIConnectionError),
        (aiohttp.ClientConnectorError(PEER, REFUSED), APIConnectionError),
        (aiohttp.InvalidURL("x"), ConfigError),
        (aiohttp.InvalidUrlClientError("x"), ConfigError),
        (ValueError("Cannot combine AUTHORIZATION header with AUTH argument"), ConfigError),
    ],
)
def test_meaning_classes(error: Exception, expected: type[FoxAPIError]) -> None:
    """Each class of error has its translation: timeout, setting or connection."""
    assert type(translate(error, sent=None, account=ACCOUNT)) is expected


@pytest.mark.parametrize("kind", raised_by_aiohttp(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("sent", [True, False])
def test_sent_is_what_the_payload_proves(kind: type[Exception], *, sent: bool) -> None:
    """Whether a billed call is ambiguous depends on its payload and not on the error."""
    if not is_out_of_reach(kind):
        failed = from_exception(build(kind), sent=sent, account=ACCOUNT)
        assert is_ambiguous(Effect.BILLED, failed.facts) is sent


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientConnectorCertificateError(PEER, ssl.SSLCertVerificationError(1, "no")),
        aiohttp.ServerFingerprintMismatch(b"a", b"b", "h", 1),
        ssl.SSLCertVerificationError(1, "self-signed"),
        aiohttp.InvalidURL("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_permanent_errors(error: Exception) -> None:
    """Errors of certificates and settings are permanent."""
    assert from_exception(error, sent=None, account=ACCOUNT).facts.permanent


def test_a_certificate_is_no_setting() -> None:
    """The standard library's certificate error, a ValueError too, is a connection error."""
    error = ssl.SSLCertVerificationError(1, "self-signed")
    assert type(translate(error, sent=False, account=ACCOUNT)) is APIConnectionError


def test_texts_are_short_and_single() -> None:
    """The text of an error is one line of bounded length."""
    text = str(translate(OSError("a\nb" * 10_000), sent=True, account=ACCOUNT))
    assert "\n" not in text
    assert len(text) < 600
