"""HTTP: owns the aiohttp sessions, retries what may be retried, translates every error.

Whatever leaves this package is an ``Answer``, a ``StreamBody`` and its ``Inlet``, an error of
``foxapi_async.errors`` or one of the signals ``Ambiguous`` and ``CancelledInFlight``; no type of
aiohttp or tenacity does.
"""

from foxapi_async._transport.account import Account
from foxapi_async._transport.answer import Answer, decode, head, status_error
from foxapi_async._transport.call import Call
from foxapi_async._transport.faults import translate
from foxapi_async._transport.http import Ambiguous, CancelledInFlight, Transport
from foxapi_async._transport.inlet import Inlet
from foxapi_async._transport.judge import OnRetry
from foxapi_async._transport.stream import StreamBody

__all__ = [
    "Account",
    "Ambiguous",
    "Answer",
    "Call",
    "CancelledInFlight",
    "Inlet",
    "OnRetry",
    "StreamBody",
    "Transport",
    "decode",
    "head",
    "status_error",
    "translate",
]
