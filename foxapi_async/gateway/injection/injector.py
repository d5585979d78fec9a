"""Applies fault rules to the requests and responses of the service's endpoints."""

import socket
import struct
from contextlib import suppress
from typing import Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from msgspec import DecodeError, Raw, Struct

from foxapi_async._clock import Clock
from foxapi_async._wire.error_body import ErrorBody
from foxapi_async._wire.media_request import MediaRequest
from foxapi_async._wire.request import ContentBlock
from foxapi_async.gateway.api_errors import APIError, error_response, error_type
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.faults.catalog import FaultName
from foxapi_async.gateway.faults.plan import CallInfo, Faults
from foxapi_async.gateway.faults.rule import FaultRule
from foxapi_async.gateway.files.download_routes import BODY_SENDER
from foxapi_async.gateway.injection.delays import FaultDelays
from foxapi_async.gateway.injection.faulty_download import FaultyDownload
from foxapi_async.gateway.injection.faulty_stream import FaultyStream
from foxapi_async.gateway.json_response import json_response
from foxapi_async.gateway.routes import CHANGE_GENERATION, STREAM_SENDER, ChangeGeneration
from foxapi_async.gateway.sse_response import read_offset
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Store, StoredRequest

_PAGE: Final = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in</body></html>\n"
)
# SO_LINGER with a timeout of 0: closing the socket sends RST and discards unsent bytes.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class _HasModel(Struct):
    model: str | None = None


class FaultInjector:
    """Handles the requests of a gateway that has fault rules.

    ``FaultInjector`` runs before and after each handler of ``Routes``, and sets the request keys
    that handlers read. Handlers contain no fault code.
    """

    def __init__(
        self, faults: Faults, *, keys: APIKeys, store: Store, stats: GatewayStats, clock: Clock
    ) -> None:
        self._faults = faults
        self._keys = keys
        self._store = store
        self._stats = stats
        self._delays = FaultDelays(clock)

    async def handle(
        self, request: web.Request, handler: Handler, route: str
    ) -> web.StreamResponse:
        """Handle a request to ``route`` with the rules that act on it."""
        call = await self._call_info(request, route)
        rules = self._faults.select_rules(call)
        self._stats.faults += len(rules)
        replacement = await self._replace(request, route, rules)
        if replacement is not None:
            return replacement
        if route == "stream":
            if rules:
                request[STREAM_SENDER] = FaultyStream(
                    request, rules, delays=self._delays, stats=self._stats
                )
            return await handler(request)
        if route == "download":
            if rules:
                request[BODY_SENDER] = FaultyDownload(request, rules, self._delays)
            return await handler(request)
        failing = next((rule for rule in rules if rule.fault == FaultName.FAIL), None)
        if failing is not None:
            request[CHANGE_GENERATION] = _forcing_failure(failing)
        response = await handler(request)
        return await self._change_response(request, response, rules, call)

    def release(self) -> None:
        """End all stalls, because the gateway shuts down."""
        self._delays.release()

    async def _replace(
        self, request: web.Request, route: str, rules: tuple[FaultRule, ...]
    ) -> web.Response | None:
        """Stall, and return the response that a rule sends before the handler is called."""
        # The handler of a download has sent all when it returns, so none of its rules is late.
        early = [rule for rule in rules if not rule.late or route == "download"]
        if route not in {"stream", "download"}:
            for rule in early:
                if rule.fault == FaultName.STALL:
                    await self._delays.stall(rule)
        for rule in early:
            replacement = _replacement(request, rule)
            if replacement is None:
                continue
            if route == "submit":
                # The handler, which counts submits and reads the body, is not called.
                self._stats.submits += 1
            if route in {"submit", "upload"}:
                await _drain(request)
            return replacement if rule.fault != FaultName.RESET else _reset(request)
        return None

    async def _change_response(
        self,
        request: web.Request,
        response: web.StreamResponse,
        rules: tuple[FaultRule, ...],
        call: CallInfo,
    ) -> web.StreamResponse:
        if call.on == "query" and self._faults:
            response = self._without_results(response, call)
        for rule in rules:
            if rule.fault == FaultName.STALL and rule.late:
                await self._delays.stall(rule)
            elif rule.fault == FaultName.RESET:
                return _reset(request)
            elif rule.fault == FaultName.TRUNCATED:
                return await _truncated(request, response, rule)
            elif rule.fault == FaultName.MEMBER:
                response = _with_member(response, rule)
            else:
                response = _replacement(request, rule) or response
        for rule in rules:
            if rule.fault == FaultName.SLOW:
                return await self._slow(request, response, rule)
        return response

    async def _call_info(self, request: web.Request, route: str) -> CallInfo:
        """Collect what rules can test. The model is looked up only if a rule tests it."""
        task_id = request.match_info.get("task_id")
        model = None
        if self._faults.needs_model and route in {"submit", "query", "stream"}:
            # An invalid body or key has no model; the handler rejects it.
            with suppress(DecodeError, APIError):
                body = await request.read() if task_id is None else None
                if task_id is not None:
                    body = await self._snapshot(request, task_id)
                model = msgspec.json.decode(body or b"{}", type=_HasModel).model
        offset = 0
        if route == "stream":
            with suppress(APIError):
                offset = read_offset(request.query.get("offset", "0"))
        return CallInfo(on=route, task=task_id, model=model, offset=offset)

    async def _snapshot(self, request: web.Request, task_id: str) -> bytes | None:
        owner = self._keys.authenticate_request(request)
        return await self._store.snapshot(task_id, owner)

    def _without_results(self, response: web.StreamResponse, call: CallInfo) -> web.StreamResponse:
        """Remove the results of a completed task if a rule says so."""
        if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
            return response
        members = msgspec.json.decode(response.body, type=dict[str, Raw])
        if bytes(members.get("status", b"")) != b'"completed"':
            return response
        completed = msgspec.structs.replace(call, completed=True)
        rules = self._faults.select_rules(completed)
        if not rules:
            return response
        self._stats.faults += len(rules)
        return json_response(members | {"results": Raw(b"null")})

    async def _slow(
        self, request: web.Request, response: web.StreamResponse, rule: FaultRule
    ) -> web.StreamResponse:
        body = _body(response)
        slow = _with_length(response, len(body))
        await slow.prepare(request)
        await self._delays.write_slowly(slow, body, rule)
        await slow.write_eof()
        return slow


def with_forced_failure(generation: StoredRequest, rule: FaultRule) -> StoredRequest:
    """Return the request of a task that fails as a rule of the fault ``fail`` says.

    The failure is a mark in the prompt, which is stored with the task. So the task also fails when
    it continues after a restart.
    """
    text = f"[[fail:{rule.code}:{rule.chunk or 0}]]"
    if isinstance(generation, MediaRequest):
        params = {**generation.params, "prompt": f"{generation.prompt or ''} {text}"}
        return msgspec.structs.replace(generation, params=params)
    mark = ContentBlock(type="text", text=text)
    messages = list(generation.messages)
    users = (number for number, message in enumerate(messages) if message.role == "user")
    number = max(users, default=len(messages) - 1)
    content = (mark, *messages[number].blocks)
    messages[number] = msgspec.structs.replace(messages[number], content=content)
    return msgspec.structs.replace(generation, messages=tuple(messages))


def _forcing_failure(rule: FaultRule) -> ChangeGeneration:
    return lambda generation: with_forced_failure(generation, rule)


def _replacement(request: web.Request, rule: FaultRule) -> web.Response | None:
    """Return the response that a rule sends in place of the handler's, or ``None``."""
    status = rule.status or 200
    if rule.fault == FaultName.STATUS:
        message = rule.message or f"a fault on purpose: {rule}"
        response = error_response(
            status, ErrorBody(message=message, type=error_type(status), code=rule.code)
        )
        if rule.retry_after is not None:
            retry_after = f"{rule.retry_after:.3f}".rstrip("0").rstrip(".")
            response.headers[hdrs.RETRY_AFTER] = retry_after
        return response
    if rule.fault == FaultName.HTML:
        return web.Response(status=status, body=_PAGE, content_type="text/html")
    if rule.fault == FaultName.EMPTY:
        return web.Response(status=status, content_type="application/json")
    if rule.fault == FaultName.EXPIRED:
        task_id = request.match_info.get("task_id")
        if task_id is None:
            raise APIError(410, "the link has expired and the file is deleted")
        raise APIError(404, f"task {task_id!r} was not found: its retention is over")
    return web.Response() if rule.fault == FaultName.RESET else None


async def _drain(request: web.Request) -> None:
    """Read the body as a server does that stores it, and forget it."""
    while await request.content.readany():
        pass


def _reset(request: web.Request) -> web.Response:
    """Reset the connection. Bytes that were written before may not arrive either."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    # aiohttp needs a response, although the connection is closed.
    return web.Response()


async def _truncated(
    request: web.Request, response: web.StreamResponse, rule: FaultRule
) -> web.StreamResponse:
    """Announce the length of the whole body, send a part of it and close the connection."""
    body = _body(response)
    truncated = _with_length(response, len(body))
    await truncated.prepare(request)
    size = len(body) // 2 if rule.size is None else min(rule.size, len(body) - 1)
    await truncated.write(body[:size])
    if request.transport is not None:
        # `close` sends what was written before it closes the connection.
        request.transport.close()
    return truncated


def _with_member(response: web.StreamResponse, rule: FaultRule) -> web.StreamResponse:
    """Return the response with one member changed or removed."""
    members = msgspec.json.decode(_body(response), type=dict[str, Raw])
    members.pop(rule.member or "", None)
    if rule.value is not None:
        members[rule.member or ""] = Raw(rule.value.encode())
    return json_response(members, status=response.status)


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else b""
    return body if isinstance(body, bytes) else b""


def _with_length(response: web.StreamResponse, length: int) -> web.StreamResponse:
    """Return a response with the same head, and a body of ``length`` bytes still to be written."""
    copy = web.StreamResponse(status=response.status, headers=response.headers)
    copy.content_length = length
    return copy
