"""Calls over HTTP: single polls, calls with retries, and streams."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from ssl import SSLContext
from typing import Final, TypeVar, final

import aiohttp
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy

from foxapi_async._clock import Clock, LoopClock
from foxapi_async._protocol.retry import Effect, RetryIn, is_ambiguous
from foxapi_async._transport.account import Account
from foxapi_async._transport.attempt_trace import AttemptTrace, Emit
from foxapi_async._transport.connections import Connections
from foxapi_async._transport.error_mapping import (
    TRANSPORT_ERRORS,
    FailedAttempt,
    from_body,
    from_exception,
    from_status,
    request_error,
    translate,
)
from foxapi_async._transport.links import Links
from foxapi_async._transport.payload import SingleUsePayload, StreamedBody, StreamedPayload
from foxapi_async._transport.response import (
    HTTPResponse,
    OpenResponse,
    decode,
    excerpt,
    invalid_response,
    read_bounded,
    read_if_complete,
    status_error,
)
from foxapi_async._transport.retry import OnRetry, RetryDecider, retry_after_failure
from foxapi_async._transport.stream_body import StreamBody
from foxapi_async._transport.timeouts import TimeoutScheduler, TimeoutScope
from foxapi_async._wire.base import Decoder, WireStruct
from foxapi_async.config import Limits, RetryPolicy, Timeouts, environment_switch
from foxapi_async.errors import FoxAPIError, InvalidResponseError

S = TypeVar("S", bound=WireStruct)

_EVENT_STREAM: Final = "text/event-stream"
_MAX_CONTENT_TYPE: Final = 80


class RequestSpec(Struct, frozen=True, kw_only=True):
    """One call of the service."""

    effect: Effect
    """Whether the call is billed."""
    method: str
    path: str
    """Percent-encoded, relative to the account's base URL."""
    body: bytes | StreamedBody | None = None
    """JSON, or a body that is read while it is sent; that is read once."""
    headers: Mapping[str, str] | None = None
    """Headers in addition to those of the account."""

    def __repr__(self) -> str:
        # The body holds the user's prompt.
        return f"<RequestSpec {self.effect.value} {self.method} {self.path}>"


class OutcomeUnknown(Exception):  # noqa: N818 a signal between layers, never raised to users
    """A billed call may have been accepted; ``fault`` is the error of its last attempt.

    ``Submission`` raises a ``SubmitOutcomeUnknownError`` in its place.
    """

    def __init__(self, fault: FoxAPIError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class CancelledInFlight(asyncio.CancelledError):
    """A billed call was cancelled when a byte of its body may have left.

    Any other cancellation of a billed call proves that no attempt of it was accepted.
    """


@final
class Transport:
    """Sends requests and decodes responses. It is bound to the event loop of its first request.

    It follows no redirect, so the key reaches no other origin. A cancelled call closes its
    connection and is not sent again.

    Args:
        http: A borrowed aiohttp session, which stays open; otherwise two are opened here.
        trust_env: Whether the proxies of the environment are used.
        ssl: The TLS settings.
        timeouts: The timeouts of a call that passes none.
        limits: ``max_response_bytes`` bounds each response.
        clock: The clock of all timeouts and delays.
        rand: Draws the numbers from 0 to 1 for the jitter of retries.
    """

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession | None = None,
        trust_env: bool = False,
        ssl: SSLContext | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        # tenacity is a tenth of the package's import time, so the first transport loads it.
        import_module("tenacity")
        fast_path = environment_switch("FOXAPI_FAST_PATH", default=True)
        self._timeouts = timeouts or Timeouts()
        self._max_bytes = (limits or Limits()).max_response_bytes
        self._clock = clock or LoopClock()
        self._rand = rand
        self._fast_path = fast_path
        self._scheduler = TimeoutScheduler(self._clock)
        self._connections = Connections(http, trust_env=trust_env, ssl=ssl, fast_path=fast_path)
        self.links: Links = Links(self._clock, self._scheduler, trust_env=trust_env, ssl=ssl)
        self._connect_timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def fetch(
        self,
        account: Account,
        spec: RequestSpec,
        decoder: Decoder[S],
        *,
        retry: RetryPolicy,
        timeouts: Timeouts | None = None,
        emit: Emit | None = None,
        on_retry: OnRetry | None = None,
    ) -> S:
        """Send the request and return the decoded body.

        A failed attempt is repeated if ``retry`` and the effect of the request allow it.

        A 2xx body that cannot be decoded counts as a failed attempt: a read is sent again, the
        outcome of a billed call is unknown.

        Args:
            account: The API key and the base URL.
            spec: The request.
            decoder: Decodes the body.
            retry: How often and when a failed attempt is repeated.
            timeouts: ``call`` bounds the call with all its attempts and delays.
            emit: Gets the events of each attempt.
            on_retry: Called before each delay.

        Raises:
            OutcomeUnknown: The service may have accepted a billed call.
            CancelledInFlight: A billed call was cancelled when a byte of it may have left.
            FoxAPIError: The error of the last attempt otherwise.
        """
        timeouts = timeouts or self._timeouts
        started = self._clock.time()
        deadline = None if timeouts.call is None else started + timeouts.call
        trace = None if emit is None else self._trace(emit, account, spec.method, spec.path)
        attempt = partial(self._attempt, account, spec, decoder, timeouts, deadline, trace=trace)
        result = await attempt()
        if isinstance(result, FailedAttempt):
            decider = RetryDecider(
                spec.effect,
                retry,
                clock=self._clock,
                rand=self._rand,
                started=started,
                deadline=deadline,
            )
            decision = decider.decide(1, result)
            if isinstance(decision, RetryIn):
                result = await retry_after_failure(
                    attempt,
                    result,
                    decision,
                    decider,
                    clock=self._clock,
                    on_retry=_retry_notifier(trace, on_retry),
                )
        if not isinstance(result, FailedAttempt):
            return result
        error = request_error(result.error, account, spec.method, spec.path)
        if is_ambiguous(spec.effect, result.facts):
            raise OutcomeUnknown(error)
        raise error

    async def poll(
        self,
        account: Account,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeouts: Timeouts | None = None,
        emit: Emit | None = None,
    ) -> HTTPResponse:
        """Send one GET and return its 2xx response; raise an error for every other result.

        For paths that are read many times: it needs less CPU time than `fetch`.
        """
        if emit is not None:
            with self._trace(emit, account, "GET", path) as trace:
                traced = await self.poll(account, path, query, timeouts=timeouts)
                trace.status = traced.status
                return traced
        timeouts = timeouts or self._timeouts
        pooled = self._connections.pooled_get(account)
        failure: FoxAPIError | HTTPResponse
        try:
            with self._scheduler.after(timeouts.read, "Timeouts.read"):
                opened: OpenResponse | None = None
                if pooled is not None:
                    target = account.request_target(path, query)
                    opened = await pooled.get(target, self._connect_timeout(timeouts))
                    if opened is None:
                        self._connections.disable_pooled_get(account)
                if opened is None:
                    opened = await self._get(account, path, query, account.headers, timeouts)
                response = read_if_complete(account, opened, self._max_bytes)
                if response is not None:
                    return response
                response = await read_bounded(account, opened, self._max_bytes, self._clock)
        except TRANSPORT_ERRORS as error:
            failure = translate(error, sent=None, account=account)
        else:
            if response.is_success:
                return response
            failure = response
        raise request_error(failure, account, "GET", path)

    async def open_stream(
        self,
        account: Account,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeouts: Timeouts | None = None,
        emit: Emit | None = None,
    ) -> StreamBody:
        """Open the event stream at ``path`` by one GET; return its body once the headers are there.

        ``timeouts.read`` covers the headers only. After them the caller measures the idle time.

        Raises:
            InvalidResponseError: A 2xx response that is no event stream.
            FoxAPIError: The error of any other response, or of the connection.
        """
        if emit is not None:
            with self._trace(emit, account, "GET", path) as trace:
                body = await self.open_stream(account, path, query, timeouts=timeouts)
                trace.status = 200
                return body
        timeouts = timeouts or self._timeouts
        failure: FoxAPIError | HTTPResponse
        try:
            with self._scheduler.after(timeouts.read, "Timeouts.read"):
                opened = await self._get(account, path, query, account.stream_headers, timeouts)
                kind = opened.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                if opened.status == 200 and kind == _EVENT_STREAM:  # noqa: PLR2004
                    return StreamBody(account, opened, self._clock, fast_path=self._fast_path)
                response = await read_bounded(account, opened, self._max_bytes, self._clock)
        except TRANSPORT_ERRORS as error:
            failure = translate(error, sent=None, account=account)
        else:
            failure = response
            if response.is_success:
                shown = account.redact(kind)[:_MAX_CONTENT_TYPE]
                failure = invalid_response(
                    response,
                    f"answered {response.status} with {shown!r} instead of an event stream",
                )
        raise request_error(failure, account, "GET", path)

    def timeout(self, seconds: float, name: str) -> TimeoutScope:
        """Return a block that raises ``TimeoutError`` after ``seconds``; its text has ``name``."""
        return self._scheduler.after(seconds, name)

    async def aclose(self) -> None:
        """Close the connections and end all requests; a borrowed session stays open."""
        # aiohttp does not wake the reader of a body when its connection is closed from here.
        self._scheduler.close()
        try:
            await self.links.aclose()
        finally:
            await self._connections.aclose()

    async def _attempt(
        self,
        account: Account,
        spec: RequestSpec,
        decoder: Decoder[S],
        timeouts: Timeouts,
        deadline: float | None,
        *,
        trace: AttemptTrace | None,
    ) -> S | FailedAttempt:
        """Send once; return the decoded 2xx body, or the failure."""
        if trace is None:
            return _decode(decoder, await self._exchange(account, spec, timeouts, deadline))
        with trace:
            response = await self._exchange(account, spec, timeouts, deadline)
            if isinstance(response, HTTPResponse):
                trace.status = response.status
            return trace.record(_decode(decoder, response))

    async def _exchange(
        self, account: Account, spec: RequestSpec, timeouts: Timeouts, deadline: float | None
    ) -> HTTPResponse | FailedAttempt:
        """Send once; return the 2xx response, or the failure and whether the body may have left."""
        scope = self._scheduler.after(*self._attempt_timeout(spec, timeouts, deadline))
        payload = _payload_of(spec.body, lambda: scope.extend(deadline))
        is_billed = spec.effect is not Effect.READ
        chunks: list[bytes] = []
        try:
            with scope:
                opened = await self._connections.send(
                    account,
                    spec.method,
                    account.url(spec.path),
                    _headers(account, spec),
                    payload=payload,
                    billed=is_billed,
                    timeout=self._connect_timeout(timeouts),
                )
                response = read_if_complete(account, opened, self._max_bytes)
                if response is None:
                    response = await read_bounded(
                        account, opened, self._max_bytes, self._clock, chunks
                    )
        except asyncio.CancelledError:
            if is_billed and payload is not None and not payload.withdraw():
                raise CancelledInFlight from None
            raise
        except TRANSPORT_ERRORS as error:
            sent = None if payload is None else not payload.withdraw()
            body = excerpt(account, b"".join(chunks))
            return from_exception(error, sent=sent, account=account, body=body)
        except InvalidResponseError as error:
            return from_body(error, permanent=True)
        except Exception as error:
            # A middleware or a trace of a borrowed session may raise anything, also after the POST.
            if not is_billed or payload is None or payload.withdraw():
                raise
            return from_exception(error, sent=True, account=account)
        if payload is not None:
            is_unsent = payload.withdraw()
            if payload.connection_had_ended:
                # A server may write a 408 to an idle connection: it is no response to this call.
                stray = ConnectionError(f"an unrelated response {response.status} was pending")
                return from_exception(stray, sent=not is_unsent, account=account)
        return response if response.is_success else from_status(status_error(response))

    def _get(
        self,
        account: Account,
        path: str,
        query: Mapping[str, str] | None,
        headers: CIMultiDictProxy[str],
        timeouts: Timeouts,
    ) -> Awaitable[aiohttp.ClientResponse]:
        url = account.url(path, query)
        timeout = self._connect_timeout(timeouts)
        return self._connections.send(account, "GET", url, headers, timeout=timeout)

    def _trace(self, emit: Emit, account: Account, method: str, path: str) -> AttemptTrace:
        shown = account.mask.name(account.url(path).raw_path)
        return AttemptTrace(emit, self._clock, method=method, path=shown)

    def _attempt_timeout(
        self, spec: RequestSpec, timeouts: Timeouts, deadline: float | None
    ) -> tuple[float, str]:
        """Return the seconds that an attempt may take, and the setting that they come from."""
        if spec.effect is not Effect.READ:
            seconds, name = timeouts.submit, "Timeouts.submit"
        else:
            seconds, name = timeouts.read, "Timeouts.read"
        left = None if deadline is None else deadline - self._clock.time()
        return (seconds, name) if left is None or seconds <= left else (left, "Timeouts.call")

    def _connect_timeout(self, timeouts: Timeouts) -> aiohttp.ClientTimeout:
        """Return the timeout for aiohttp, which bounds making a connection and nothing else."""
        timeout = self._connect_timeouts.get(timeouts.connect)
        if timeout is None:
            timeout = self._connect_timeouts[timeouts.connect] = aiohttp.ClientTimeout(
                total=None, connect=timeouts.connect
            )
        return timeout


def _payload_of(
    body: bytes | StreamedBody | None, on_progress: Callable[[], object]
) -> SingleUsePayload | None:
    if body is None or isinstance(body, bytes):
        return None if body is None else SingleUsePayload(body)
    return StreamedPayload(body, on_progress)


def _headers(account: Account, spec: RequestSpec) -> CIMultiDictProxy[str]:
    body = spec.body
    own = account.headers if body is None else account.post_headers
    if spec.headers is None and (body is None or isinstance(body, bytes)):
        return own
    merged = CIMultiDict(own)
    merged.update(spec.headers or {})
    if body is not None and not isinstance(body, bytes):
        merged["Content-Type"] = body.content_type
    return CIMultiDictProxy(merged)


def _decode(decoder: Decoder[S], response: HTTPResponse | FailedAttempt) -> S | FailedAttempt:
    if isinstance(response, FailedAttempt):
        return response
    try:
        return decode(decoder, response)
    except InvalidResponseError as error:
        return from_body(error)


def _retry_notifier(trace: AttemptTrace | None, on_retry: OnRetry | None) -> OnRetry | None:
    if trace is None:
        return on_retry

    def notify(attempt: int, delay: float, reason: str) -> None:
        if on_retry is not None:
            on_retry(attempt, delay, reason)
        trace.retry_scheduled(attempt, delay, reason)

    return notify
