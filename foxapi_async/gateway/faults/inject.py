"""Does what was decided about an answer that is sent whole, and about its connection."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from msgspec import DecodeError, Raw, Struct

from foxapi_async._clock import Clock, sleep
from foxapi_async._wire.error_body import ErrorBody
from foxapi_async._wire.request import ContentBlock, GenerationRequest
from foxapi_async.gateway.api_errors import APIError, envelope, error_type
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.faults.plan import Call, Faults
from foxapi_async.gateway.faults.rule import FaultRule
from foxapi_async.gateway.sse_response import read_offset
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import Store

# Every request is handled in a task, and so in a context, of its own.
_acting: ContextVar[tuple[FaultRule, ...]] = ContextVar("acting", default=())
_PAGE: Final = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in</body></html>\n"
)
# A reset in place of a goodbye: nothing that waits to be sent is sent.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class _Named(Struct):
    model: str | None = None


def active_rules() -> tuple[FaultRule, ...]:
    """Return the rules that act on the request that is being handled."""
    return _acting.get()


def with_forced_failure(
    generation: GenerationRequest, rules: tuple[FaultRule, ...]
) -> GenerationRequest:
    """Return the request of a task that fails if a rule says so.

    The failure is written into the prompt, as anybody can write one there, so that a task that goes
    on after a restart fails as well.
    """
    for rule in rules:
        if rule.fault == "fail":
            mark = ContentBlock(type="text", text=f"[[fail:{rule.code}:{rule.chunk or 0}]]")
            asked = max(
                (n for n, item in enumerate(generation.messages) if item.role == "user"),
                default=len(generation.messages) - 1,
            )
            messages = list(generation.messages)
            content = (mark, *messages[asked].blocks)
            messages[asked] = msgspec.structs.replace(messages[asked], content=content)
            return msgspec.structs.replace(generation, messages=tuple(messages))
    return generation


class FaultInjector:
    """Stands before the handlers of a gateway that has faults."""

    def __init__(
        self, faults: Faults, *, keys: APIKeys, store: Store, stats: Stats, clock: Clock
    ) -> None:
        self._faults = faults
        self._keys = keys
        self._store = store
        self._stats = stats
        self._clock = clock
        self._held: set[asyncio.Task[object]] = set()

    async def handle(self, request: web.Request, handler: Handler, on: str) -> web.StreamResponse:
        """Answer a request to the route ``on``, spoilt by the rules that act on it."""
        call = await self._call(request, on)
        rules = self._faults.decide(call)
        self._stats.faults += len(rules)
        _acting.set(rules)
        early = [rule for rule in rules if not rule.late]
        for rule in early:
            if rule.fault == "stall" and on != "stream":
                await self.stand_still(rule)
        for rule in early:
            replacement = self._replacement(request, rule)
            if replacement is not None:
                if on == "submit":
                    # It arrived, and the handler that counts it will not see it.
                    self._stats.submits += 1
                    await request.read()
                return replacement if rule.fault != "reset" else _reset_answer(request)
        answer = await handler(request)
        if on == "stream":
            return answer
        return await self._spoil(request, answer, rules, call)

    def release(self) -> None:
        """Let go of what stands still: the gateway closes."""
        for task in self._held:
            task.cancel()

    async def stand_still(self, rule: FaultRule) -> None:
        """Wait as long as the rule says, at most until the gateway closes."""
        waiting: asyncio.Task[object] = asyncio.create_task(self._wait(rule))
        self._held.add(waiting)
        try:
            await asyncio.wait([waiting])
        finally:
            self._held.discard(waiting)
            waiting.cancel()

    async def _wait(self, rule: FaultRule) -> None:
        if rule.seconds is None:
            await asyncio.get_running_loop().create_future()
        else:
            await sleep(self._clock, rule.seconds)

    async def send_slowly(self, response: web.StreamResponse, body: bytes, rule: FaultRule) -> None:
        """Write ``body`` in the pieces of a slow rule."""
        for piece in _pieces(body, rule.size):
            await sleep(self._clock, 1.0 if rule.seconds is None else rule.seconds)
            await response.write(piece)

    async def _spoil(
        self,
        request: web.Request,
        answer: web.StreamResponse,
        rules: tuple[FaultRule, ...],
        call: Call,
    ) -> web.StreamResponse:
        """Spoil an answer that is there."""
        if call.on == "query" and self._faults:
            answer = self._hollow(answer, call)
        for rule in rules:
            if rule.fault == "stall" and rule.late:
                await self.stand_still(rule)
            elif rule.fault == "reset":
                return _reset_answer(request)
            elif rule.fault == "truncated":
                return await _truncated(request, answer, rule)
            elif rule.fault == "member":
                answer = _with_member(answer, rule)
            else:
                answer = self._replacement(request, rule) or answer
        for rule in rules:
            if rule.fault == "slow":
                return await self._slow(request, answer, rule)
        return answer

    async def _call(self, request: web.Request, on: str) -> Call:
        """Find out what the rules may ask; of which model a task is only if one does."""
        task = request.match_info.get("task_id")
        model = None
        if self._faults.asks_for_models and on != "models":
            # A body or a key that is not right concerns no model; its handler will refuse it.
            with suppress(DecodeError, APIError):
                told = await request.read() if task is None else await self._answer(request, task)
                model = msgspec.json.decode(told or b"{}", type=_Named).model
        offset = 0
        if on == "stream":
            with suppress(APIError):
                offset = read_offset(request.query.get("offset", "0"))
        return Call(on=on, task=task, model=model, offset=offset)

    async def _answer(self, request: web.Request, task: str) -> bytes | None:
        owner = self._keys.admit(request.headers.get(hdrs.AUTHORIZATION))
        return await self._store.answer(task, owner)

    def _replacement(self, request: web.Request, rule: FaultRule) -> web.Response | None:
        """Return what is sent in place of an answer."""
        status = rule.status or 200
        if rule.fault == "status":
            message = rule.message or f"a fault on purpose: {rule}"
            body = ErrorBody(message=message, type=error_type(status), code=rule.code)
            answer = envelope(status, body)
            if rule.retry_after is not None:
                answer.headers[hdrs.RETRY_AFTER] = f"{rule.retry_after:.3f}".rstrip("0").rstrip(".")
            return answer
        if rule.fault == "html":
            return web.Response(status=status, body=_PAGE, content_type="text/html")
        if rule.fault == "empty":
            return web.Response(status=status, content_type="application/json")
        if rule.fault == "expired":
            task = request.match_info.get("task_id")
            raise APIError(404, f"task {task!r} was not found: its time is over")
        return web.Response() if rule.fault == "reset" else None

    def _hollow(self, answer: web.StreamResponse, call: Call) -> web.StreamResponse:
        if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
            return answer
        members = msgspec.json.decode(answer.body, type=dict[str, Raw])
        if bytes(members.get("status", b"")) != b'"completed"':
            return answer
        completed = msgspec.structs.replace(call, completed=True)
        rules = self._faults.decide(completed)
        if not rules:
            return answer
        self._stats.faults += len(rules)
        body = msgspec.json.encode(members | {"results": Raw(b"null")})
        return web.Response(body=body, content_type="application/json")

    async def _slow(
        self, request: web.Request, answer: web.StreamResponse, rule: FaultRule
    ) -> web.StreamResponse:
        body = _body(answer)
        slow = _announced(answer, len(body))
        await slow.prepare(request)
        await self.send_slowly(slow, body, rule)
        await slow.write_eof()
        return slow


def reset(request: web.Request) -> None:
    """Reset the connection of ``request``: not even what was written is sure to arrive."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def _reset_answer(request: web.Request) -> web.Response:
    reset(request)
    # Nobody is left to read it; the server wants an answer all the same.
    return web.Response()


async def _truncated(
    request: web.Request, answer: web.StreamResponse, rule: FaultRule
) -> web.StreamResponse:
    body = _body(answer)
    broken = _announced(answer, len(body))
    await broken.prepare(request)
    size = len(body) // 2 if rule.size is None else min(rule.size, len(body) - 1)
    await broken.write(body[:size])
    if request.transport is not None:
        # What was written still arrives, and then the end of the connection.
        request.transport.close()
    return broken


def _with_member(answer: web.StreamResponse, rule: FaultRule) -> web.StreamResponse:
    """Return the answer with one member changed or absent."""
    members = msgspec.json.decode(_body(answer), type=dict[str, Raw])
    members.pop(rule.member or "", None)
    if rule.value is not None:
        members[rule.member or ""] = Raw(rule.value.encode())
    body = msgspec.json.encode(members)
    return web.Response(status=answer.status, body=body, content_type="application/json")


def _body(answer: web.StreamResponse) -> bytes:
    body = answer.body if isinstance(answer, web.Response) else b""
    return body if isinstance(body, bytes) else b""


def _announced(answer: web.StreamResponse, length: int) -> web.StreamResponse:
    """Return an answer like ``answer`` whose body of ``length`` bytes is still to be written."""
    copy = web.StreamResponse(status=answer.status, headers=answer.headers)
    copy.content_length = length
    return copy


def _pieces(body: bytes, size: int | None) -> Iterator[bytes]:
    step = size or max(1, len(body))
    return (body[start : start + step] for start in range(0, len(body), step))
