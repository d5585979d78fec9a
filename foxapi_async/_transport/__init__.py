"""HTTP: owns the aiohttp sessions, retries what may be retried, translates every error.

What leaves this package is an ``HTTPResponse``, a ``StreamBody`` and its ``RawStream``, an error
of ``foxapi_async.errors`` or one of the signals ``OutcomeUnknown`` and ``CancelledInFlight``; no
type of aiohttp or tenacity does.
"""

from foxapi_async._transport._aiohttp_private import RawStream
from foxapi_async._transport.account import Account
from foxapi_async._transport.error_mapping import translate
from foxapi_async._transport.links import LinkFailure, LinkResponse, Links, shown_link
from foxapi_async._transport.payload import StreamedBody
from foxapi_async._transport.response import HTTPResponse, decode, excerpt, status_error
from foxapi_async._transport.retry import OnRetry
from foxapi_async._transport.stream_body import StreamBody
from foxapi_async._transport.transport import (
    CancelledInFlight,
    OutcomeUnknown,
    RequestSpec,
    Transport,
)

__all__ = [
    "Account",
    "CancelledInFlight",
    "HTTPResponse",
    "LinkFailure",
    "LinkResponse",
    "Links",
    "OnRetry",
    "OutcomeUnknown",
    "RawStream",
    "RequestSpec",
    "StreamBody",
    "StreamedBody",
    "Transport",
    "decode",
    "excerpt",
    "shown_link",
    "status_error",
    "translate",
]
