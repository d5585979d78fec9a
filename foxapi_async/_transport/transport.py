"""Calls over HTTP: one attempt, attempts with retries, and streams."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from ssl import SSLContext
from typing import Final, TypeVar, final

import aiohttp
import yarl
from multidict import CIMultiDictProxy

from foxapi_async._clock import Clock, LoopClock
from foxapi_async._protocol.retry import Effect, RetryIn, is_ambiguous
from foxapi_async._transport.account import Account
from foxapi_async._transport.attempt_trace import AttemptTrace, Emit
from foxapi_async._transport.body import Response, read_bounded, read_if_complete
from foxapi_async._transport.call import RequestSpec
from foxapi_async._transport.connections import Connections
from foxapi_async._transport.error_mapping import (
    TRANSPORT_ERRORS,
    FailedAttempt,
    asked,
    from_body,
    from_exception,
    from_status,
    translate,
)
from foxapi_async._transport.judge import OnRetry, RetryDecider
from foxapi_async._transport.payload import SingleUsePayload
from foxapi_async._transport.response import (
    HTTPResponse,
    decode,
    excerpt,
    invalid_response,
    status_error,
)
from foxapi_async._transport.stream_body import StreamBody
from foxapi_async._transport.timeouts import TimeoutScheduler
from foxapi_async._wire.base import Decoder, WireStruct
from foxapi_async.config import Limits, RetryPolicy, Timeouts
from foxapi_async.errors import FoxAPIError, InvalidResponseError
from foxapi_async.hooks import RetryScheduled

T = TypeVar("T")
S = TypeVar("S", bound=WireStruct)

_EVENT_STREAM: Final = "text/event-stream"
_KIND: Final = 80


class OutcomeUnknown(Exception):  # noqa: N818 a signal between layers, which no user ever sees
    """A billed call may have been accepted; ``fault`` is what was seen in place of its answer.

    The layer that knows the request turns it into a ``SubmitOutcomeUnknownError``.
    """

    def __init__(self, fault: FoxAPIError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class CancelledInFlight(asyncio.CancelledError):
    """A billed call was cancelled when a byte of its body may have left.

    Any other cancellation of a billed call is proof that no attempt of it was accepted.
    """


@final
class Transport:
    """Sends calls and translates what comes back. Belongs to the loop of its first call.

    Never follows a redirect, so that no key reaches another origin. A cancelled call closes its
    connection and is not made again. ``roll`` draws the numbers for the jitter.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        http: aiohttp.ClientSession | None = None,
        trust_env: bool = False,
        ssl: SSLContext | None = None,
        clock: Clock | None = None,
        roll: Callable[[], float] = random.random,
    ) -> None:
        # tenacity costs a tenth of the package's import, so it comes with the first transport.
        from foxapi_async._transport.retry import retry_after_failure

        self._again = retry_after_failure
        self._timeouts = timeouts or Timeouts()
        self._body_limit = (limits or Limits()).max_response_bytes
        self._clock = clock or LoopClock()
        self._roll = roll
        self._deadlines = TimeoutScheduler(self._clock)
        self._connections = Connections(http, trust_env=trust_env, ssl=ssl)
        self._connecting: dict[float, aiohttp.ClientTimeout] = {}

    async def request(
        self,
        account: Account,
        call: RequestSpec,
        *,
        retry: RetryPolicy,
        timeouts: Timeouts | None = None,
        emit: Emit | None = None,
    ) -> HTTPResponse:
        """Make the call, again if ``retry`` and its effect allow it, and return the 2xx answer.

        Raises the error of the last attempt, or ``OutcomeUnknown`` for a billed call that the
        service may have accepted. ``timeouts.call`` bounds the call with all its attempts. A
        cancelled one raises ``CancelledInFlight`` if it is billed and the service may have seen it.
        """
        return await self._call(account, call, _identity, retry, timeouts=timeouts, emit=emit)

    async def fetch(
        self,
        account: Account,
        call: RequestSpec,
        reader: Decoder[S],
        *,
        retry: RetryPolicy,
        timeouts: Timeouts | None = None,
        emit: Emit | None = None,
        on_retry: OnRetry | None = None,
    ) -> S:
        """Make the call as ``request`` does, and read its answer.

        An answer that cannot be read counts as a failed attempt: a read is made again, a billed
        call is ``OutcomeUnknown``. ``on_retry`` is told of each retry, whoever else listens.
        """
        return await self._call(
            account,
            call,
            lambda answer: decode(reader, answer),
            retry,
            timeouts=timeouts,
            emit=emit,
            on_retry=on_retry,
        )

    async def attempt(
        self, account: Account, call: RequestSpec, timeouts: Timeouts | None = None
    ) -> HTTPResponse:
        """Make the call once and return its 2xx answer; raise what went wrong."""
        result = await self._attempt(account, call, _identity, timeouts or self._timeouts, None)
        if isinstance(result, FailedAttempt):
            raise asked(result.error, account, call.method, call.path)
        return result

    async def poll(
        self,
        account: Account,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeouts: Timeouts | None = None,
        emit: Emit | None = None,
    ) -> HTTPResponse:
        """Read ``path`` of the account once and return the 2xx answer; raise what went wrong.

        The lean way, for what is read over and over.
        """
        if emit is not None:
            with self._told(emit, account, "GET", account.url(path, query)) as told:
                answer = await self.poll(account, path, query, timeouts=timeouts)
                told.status = answer.status
                return answer
        timeouts = timeouts or self._timeouts
        shortcut = self._connections.shortcut(account)
        try:
            with self._deadlines.after(timeouts.read, "Timeouts.read"):
                response: Response | None = None
                if shortcut is not None:
                    response = await shortcut.get(
                        account.request_target(path, query), self._aiohttp_timeout(timeouts)
                    )
                    if response is None:
                        self._connections.drop_shortcut(account)
                if response is None:
                    url = account.url(path, query)
                    response = await self._get(account, url, account.headers, timeouts)
                here = read_if_complete(account, response, self._body_limit)
                answer = here or await read_bounded(
                    account, response, self._body_limit, self._clock
                )
        except TRANSPORT_ERRORS as error:
            fault: FoxAPIError = translate(error, sent=None, account=account)
        else:
            if answer.is_success:
                return answer
            fault = status_error(answer)
        # Raised out here, where aiohttp's error, which knows our headers, is no context of ours.
        raise asked(fault, account, "GET", path)

    async def open_stream(
        self,
        account: Account,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeouts: Timeouts | None = None,
        emit: Emit | None = None,
    ) -> StreamBody:
        """Open the event stream at ``path`` by one attempt; return its body as the answer begins.

        Raises the status error of a refusal, and ``InvalidResponseError`` for a success that is no
        event stream. ``timeouts.read`` ends with the headers: silence after them is the reader's.
        """
        if emit is not None:
            with self._told(emit, account, "GET", account.url(path, query)) as told:
                body = await self.open_stream(account, path, query, timeouts=timeouts)
                told.status = 200
                return body
        timeouts = timeouts or self._timeouts
        try:
            with self._deadlines.after(timeouts.read, "Timeouts.read"):
                url = account.url(path, query)
                response = await self._get(account, url, account.stream_headers, timeouts)
                kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                if response.status == 200 and kind == _EVENT_STREAM:  # noqa: PLR2004
                    return StreamBody(account, response, self._clock)
                answer = await read_bounded(account, response, self._body_limit, self._clock)
        except TRANSPORT_ERRORS as error:
            fault: FoxAPIError = translate(error, sent=None, account=account)
        else:
            if answer.is_success:
                shown = account.redact(kind)[:_KIND]
                what = f"answered {answer.status} with {shown!r} instead of an event stream"
                fault = invalid_response(answer, what)
            else:
                fault = status_error(answer)
        raise asked(fault, account, "GET", path)

    async def aclose(self) -> None:
        """Close the connections and end all calls; a session that was lent stays open."""
        # Once a body has begun, aiohttp tells its reader nothing of a connection that we close.
        self._deadlines.close()
        await self._connections.aclose()

    async def _call(
        self,
        account: Account,
        call: RequestSpec,
        finish: Callable[[HTTPResponse], T],
        retry: RetryPolicy,
        *,
        timeouts: Timeouts | None,
        emit: Emit | None,
        on_retry: OnRetry | None = None,
    ) -> T:
        """Make one attempt, and enter the retries only when it failed in a way that allows them."""
        timeouts = timeouts or self._timeouts
        began = self._clock.time()
        ends = None if timeouts.call is None else began + timeouts.call
        number = 0

        async def attempt() -> T | FailedAttempt:
            nonlocal number
            if emit is None:
                return await self._attempt(account, call, finish, timeouts, ends)
            number += 1
            url = account.url(call.path, call.query)
            with self._told(emit, account, call.method, url, number) as told:
                return told.note(
                    await self._attempt(account, call, told.watch(finish), timeouts, ends)
                )

        result = await attempt()
        if isinstance(result, FailedAttempt):
            judge = RetryDecider(
                call.effect, retry, clock=self._clock, roll=self._roll, began=began, ends=ends
            )
            verdict = judge(1, result)
            if isinstance(verdict, RetryIn):
                result = await self._again(
                    attempt,
                    result,
                    verdict,
                    judge,
                    clock=self._clock,
                    on_retry=on_retry
                    if emit is None
                    else _retry_notifier(emit, account, call, on_retry),
                )
        if not isinstance(result, FailedAttempt):
            return result
        fault = asked(result.error, account, call.method, call.path)
        if is_ambiguous(call.effect, result.facts):
            raise OutcomeUnknown(fault)
        raise fault

    async def _attempt(
        self,
        account: Account,
        call: RequestSpec,
        finish: Callable[[HTTPResponse], T],
        timeouts: Timeouts,
        ends: float | None,
    ) -> T | FailedAttempt:
        """Send once; return what ``finish`` makes of a 2xx answer, or what went wrong."""
        try:
            answer = await self._exchange(account, call, timeouts, ends)
        except InvalidResponseError as error:
            return from_body(error, permanent=True)
        if isinstance(answer, FailedAttempt):
            return answer
        if not answer.is_success:
            return from_status(status_error(answer))
        try:
            return finish(answer)
        except InvalidResponseError as error:
            return from_body(error)

    async def _exchange(
        self, account: Account, call: RequestSpec, timeouts: Timeouts, ends: float | None
    ) -> HTTPResponse | FailedAttempt:
        """Send once and return the answer; without one, whether the body may have left."""
        payload = None if call.body is None else SingleUsePayload(call.body)
        billed = call.effect is Effect.BILLED
        pieces: list[bytes] = []
        try:
            with self._deadlines.after(*self._patience(call, timeouts, ends)):
                response = await self._connections.send(
                    account,
                    call.method,
                    account.url(call.path, call.query),
                    account.headers if payload is None else account.post_headers,
                    payload=payload,
                    billed=billed,
                    timeout=self._aiohttp_timeout(timeouts),
                )
                here = read_if_complete(account, response, self._body_limit)
                answer = here or await read_bounded(
                    account, response, self._body_limit, self._clock, pieces
                )
        except asyncio.CancelledError:
            if billed and payload is not None and not payload.withdraw():
                raise CancelledInFlight from None
            raise
        except TRANSPORT_ERRORS as error:
            sent = None if payload is None else not payload.withdraw()
            body = excerpt(account, b"".join(pieces))
            return from_exception(error, sent=sent, account=account, body=body)
        except InvalidResponseError:
            raise
        except Exception as error:
            # A middleware or a trace of a lent session may raise anything, also after the POST.
            if not billed or payload is None or payload.withdraw():
                raise
            return from_exception(error, sent=True, account=account)
        if payload is not None:
            unsent = payload.withdraw()
            if payload.refused:
                # A server may say goodbye on an idle connection (408), which answers nothing.
                stray = ConnectionError(f"a stray answer {answer.status} lay on the connection")
                return from_exception(stray, sent=not unsent, account=account)
        return answer

    def _told(
        self, emit: Emit, account: Account, method: str, url: yarl.URL, attempt: int = 1
    ) -> AttemptTrace:
        path = account.mask.name(url.raw_path)
        return AttemptTrace(emit, self._clock, method=method, path=path, attempt=attempt)

    def _get(
        self, account: Account, url: yarl.URL, headers: CIMultiDictProxy[str], timeouts: Timeouts
    ) -> Awaitable[aiohttp.ClientResponse]:
        return self._connections.send(
            account, "GET", url, headers, timeout=self._aiohttp_timeout(timeouts)
        )

    def _patience(
        self, call: RequestSpec, timeouts: Timeouts, ends: float | None
    ) -> tuple[float, str]:
        """Return how long an attempt may take, and which setting says so."""
        if call.read is not None:
            seconds, name = call.read, "RequestSpec.read"
        elif call.effect is Effect.BILLED:
            seconds, name = timeouts.submit, "Timeouts.submit"
        else:
            seconds, name = timeouts.read, "Timeouts.read"
        left = None if ends is None else ends - self._clock.time()
        return (seconds, name) if left is None or seconds <= left else (left, "Timeouts.call")

    def _aiohttp_timeout(self, timeouts: Timeouts) -> aiohttp.ClientTimeout:
        """Return aiohttp's share of the clocks, which is making a connection; we keep the rest."""
        timeout = self._connecting.get(timeouts.connect)
        if timeout is None:
            timeout = self._connecting[timeouts.connect] = aiohttp.ClientTimeout(
                total=None, connect=timeouts.connect
            )
        return timeout


def _identity(answer: HTTPResponse) -> HTTPResponse:
    return answer


def _retry_notifier(
    emit: Emit, account: Account, call: RequestSpec, on_retry: OnRetry | None
) -> OnRetry:
    path = account.mask.name(account.url(call.path).raw_path)

    def tell(attempt: int, delay: float, reason: str) -> None:
        if on_retry is not None:
            on_retry(attempt, delay, reason)
        emit(
            RetryScheduled(
                method=call.method, path=path, attempt=attempt, delay=delay, reason=reason
            )
        )

    return tell
