"""One connection through the proxy: copies bytes between a client and the server."""

import asyncio
import socket
from collections import deque
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from foxapi_async.testing._exchange import Exchange, ExchangeState
from foxapi_async.testing._http1 import FaultCursor, MessageReader, Placed, strip_query
from foxapi_async.testing._network import ProxyState
from foxapi_async.testing._sockets import drain, end_writing, reset
from foxapi_async.testing.faults import CannedResponse, Reset, Stall, StripQuery, Trickle

_READ = 65_536
# The loop may run the proxy once more before the client that has become readable.
_ITERATIONS_UNTIL_READ = 4
# A request that is held back is read ahead, because only a read shows that the client left.
_READS_AHEAD = 16


class _End(Enum):
    """How the proxy closes a connection."""

    RESET = auto()
    CLOSE = auto()


class Connection:
    """Copies a connection of a client to a connection of its own to the server.

    One task reads from the client, one forwards requests and one delivers responses. The first that
    returns an end decides how both connections are closed.
    """

    def __init__(self, proxy: ProxyState, number: int, client: socket.socket) -> None:
        self._proxy = proxy
        self._number = number
        self._client = client
        self._server: socket.socket | None = None
        self._connected: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue(_READS_AHEAD)
        self._request: ExchangeState | None = None
        self._states: deque[ExchangeState] = deque()
        self._held: set[asyncio.Future[bool]] = set()
        self._is_opaque = False
        self._client_left = False
        self._awaiting_response: Exchange | None = None

    async def run(self) -> None:
        """Copy until a peer or a fault ends the connection, and close both sockets."""
        try:
            end = await self._copy()
            if end is _End.CLOSE:
                await self._drain_client()
        finally:
            self.close()

    def close(self) -> None:
        """Close both sockets."""
        self._client.close()
        if self._server is not None:
            self._server.close()

    async def _copy(self) -> _End:
        reading, forwarding, delivering = tasks = [
            asyncio.create_task(work, name=f"proxy connection {self._number}")
            for work in (self._read_client(), self._forward(), self._deliver())
        ]
        try:
            end = await _first_end(tasks)
            await _cancel(reading, forwarding)
            # If its connection is closed too early, the server may discard the request.
            if self._awaiting_response is None:
                await _cancel(delivering)
            if end is _End.RESET:
                await drain(self._client)
                reset(self._client)
            else:
                end_writing(self._client)
            await asyncio.wait({delivering})
            if self._server is not None and end is _End.RESET:
                await drain(self._server)
                reset(self._server)
            elif self._server is not None:
                self._server.close()
        finally:
            await _cancel(*tasks)
        return end

    # From the client to the server.

    async def _read_client(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._client, _READ):
            await self._inbox.put(data)
        self._client_left = True
        for held in self._held:
            if not held.done():
                held.set_result(False)
        await self._inbox.put(b"")

    async def _forward(self) -> _End | None:
        waiting = b""
        while data := await self._inbox.get():
            waiting, end = await self._forward_read(waiting + data)
            if end is not None:
                return end
        if waiting:
            await self._to_server(waiting)
        if self._server is None:
            return _End.CLOSE
        end_writing(self._server)
        return None

    async def _forward_read(self, data: bytes) -> tuple[bytes, _End | None]:
        """Forward what can be parsed, and return the remaining bytes."""
        while data:
            if self._request is None:
                head = MessageReader()
                head.feed(data)
                self._is_opaque |= head.opaque
                if self._is_opaque:
                    await self._to_server(data)
                    return b"", None
                if head.body_at is None:
                    return data, None
                self._request, data = self._begin(data, head.body_at)
            state = self._request
            used, end = await self._transmit(state, state.up, data)
            if end is not None:
                return b"", end
            data = data[used:]
            if state.up.reader.complete:
                if state.canned is not None and not state.canned.forward:
                    return b"", await self._send_canned(state, state.canned)
                self._request = None
        return b"", None

    def _begin(self, data: bytes, head_size: int) -> tuple[ExchangeState, bytes]:
        head, rest = data[:head_size], data[head_size:]
        exchange = Exchange(self._number, head)
        faults = self._proxy.begin(exchange)
        for fault in faults:
            if isinstance(fault, StripQuery):
                head = strip_query(head, fault.name)
            if isinstance(fault, StripQuery | Trickle):
                self._proxy.fire(exchange, fault)
        state = ExchangeState(exchange, faults)
        self._states.append(state)
        return state, head + rest

    async def _forward_bytes(self, state: ExchangeState, data: bytes) -> None:
        if state.canned is None or state.canned.forward:
            await self._to_server(data)
            state.exchange.bytes_up += len(data)
            self._proxy.notify()

    async def _to_server(self, data: bytes) -> None:
        # The first byte connects: with `request=0` the server gets no connection.
        if self._server is None:
            self._server = await self._proxy.connect()
            self._connected.set_result(self._server)
        await asyncio.get_running_loop().sock_sendall(self._server, data)

    # From the server to the client.

    async def _deliver(self) -> _End:
        loop = asyncio.get_running_loop()
        server = await self._connected
        while data := await loop.sock_recv(server, _READ):
            if self._awaiting_response is not None:
                self._mark_answered(self._awaiting_response)
                break
            if (end := await self._deliver_read(data)) is not None:
                return end
        else:
            if self._states and self._states[0].down.reader.until_eof:
                state = self._states[0]
                self._mark_finished()
                return await self._end_response(state)
        return _End.CLOSE

    async def _deliver_read(self, data: bytes) -> _End | None:
        while data:
            if not self._states:
                await asyncio.get_running_loop().sock_sendall(self._client, data)
                return None
            state = self._states[0]
            self._mark_answered(state.exchange)
            if state.canned is not None:
                return await self._send_canned(state, state.canned)
            used, end = await self._transmit(state, state.down, data)
            if end is not None:
                return end
            data = data[used:]
            if state.down.reader.complete:
                self._mark_finished()
        return None

    async def _send_canned(self, state: ExchangeState, canned: CannedResponse) -> _End:
        self._proxy.fire(state.exchange, canned)
        used, end = await self._transmit(state, state.down, canned.data)
        if end is not None:
            return end
        await self._deliver_bytes(state, canned.data[used:])
        return await self._end_response(state)

    async def _end_response(self, state: ExchangeState) -> _End:
        for fault in state.down.end():
            if (end := await self._apply(state, fault)) is not None:
                return end
        return _End.CLOSE

    async def _deliver_bytes(self, state: ExchangeState, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data:
            piece = data[: next(state.sizes)] if state.sizes else data
            await loop.sock_sendall(self._client, piece)
            state.exchange.bytes_down += len(piece)
            self._proxy.notify()
            data = data[len(piece) :]
            for _ in range(_ITERATIONS_UNTIL_READ if state.sizes else 0):
                await asyncio.sleep(0)

    def _mark_answered(self, exchange: Exchange) -> None:
        if not exchange.answered:
            exchange.answered = True
            self._proxy.notify()

    def _mark_finished(self) -> None:
        self._states.popleft().exchange.finished = True
        self._proxy.notify()

    # Faults.

    async def _transmit(
        self, state: ExchangeState, cursor: FaultCursor, data: bytes
    ) -> tuple[int, _End | None]:
        send = self._forward_bytes if cursor is state.up else self._deliver_bytes
        used, points = cursor.feed(data)
        sent = 0
        for place, fault in points:
            if place > sent:
                await send(state, data[sent:place])
                sent = place
            if (end := await self._apply(state, fault)) is not None:
                forwarded = cursor is state.up and cursor.reader.complete and sent == used
                if forwarded and self._server is not None and not state.exchange.answered:
                    self._awaiting_response = state.exchange
                return used, end
        if used > sent:
            await send(state, data[sent:used])
        return used, None

    async def _apply(self, state: ExchangeState, fault: Placed) -> _End | None:
        self._proxy.fire(state.exchange, fault)
        if isinstance(fault, Stall):
            return None if await self._stall(fault) else _End.CLOSE
        return _End.RESET if isinstance(fault, Reset) else _End.CLOSE

    async def _stall(self, fault: Stall) -> bool:
        """Wait for the release; return whether the client is still connected."""
        if self._client_left:
            return False
        held: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._held.add(held)
        if fault.until is None:
            self._proxy.held.add(held)
            self._proxy.notify()
        try:
            return await (held if fault.until is None else _first_of(held, fault.until))
        finally:
            self._held.discard(held)
            self._proxy.held.discard(held)

    async def _drain_client(self) -> None:
        """Read until the client leaves: closing a socket with unread bytes sends a reset."""
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while not self._client_left and await loop.sock_recv(self._client, _READ):
                pass


async def _first_of(held: asyncio.Future[bool], until: asyncio.Event) -> bool:
    """Wait for the future or the event; return the result of the future, or ``True``."""
    waiting = asyncio.create_task(until.wait(), name="proxy until")
    try:
        both: set[asyncio.Future[Any]] = {held, waiting}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return held.result() if held.done() else True
    finally:
        await _cancel(waiting)


async def _first_end(tasks: list[asyncio.Task[_End | None]]) -> _End:
    """Return the first end that is not ``None``; ``CLOSE`` if there is none."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        ends = {_end_of(task) for task in done} - {None}
        if ends:
            return _End.RESET if _End.RESET in ends else _End.CLOSE
    return _End.CLOSE


def _end_of(task: asyncio.Task[_End | None]) -> _End | None:
    try:
        return task.result()
    except ConnectionError:
        # A peer broke its connection, or the server refused one.
        return _End.RESET


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, wait for them, and raise their errors."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        # A peer may break its connection at any moment.
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result
