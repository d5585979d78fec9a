"""One connection through the proxy: a client, a server and what lies between them."""

import asyncio
import socket
from collections import deque
from contextlib import suppress

from foxapi_async.testing._ends import End, first_end, first_of, stop
from foxapi_async.testing._exchange import Exchange, ExchangeState
from foxapi_async.testing._http1 import FaultCursor, MessageReader, Placed, strip_query
from foxapi_async.testing._network import ProxyState
from foxapi_async.testing._sockets import drain, end_writing, reset
from foxapi_async.testing.faults import CannedResponse, Reset, Stall, StripQuery, Trickle

_READ = 65_536
# A loop that has just found the client readable runs the proxy's next turn before the client's.
_TURNS_UNTIL_READ = 4
# Read ahead of a request that is held back, because only a read tells that the client has gone.
_READS_AHEAD = 16


class Connection:
    """A client's connection, copied byte by byte to one of its own to the server.

    Three tasks: one reads the client, one forwards requests, one delivers responses. The first that
    returns an end decides how both sides are cut.
    """

    def __init__(self, network: ProxyState, number: int, client: socket.socket) -> None:
        self._network = network
        self._number = number
        self._client = client
        self._server: socket.socket | None = None
        self._connected: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue(_READS_AHEAD)
        self._request: ExchangeState | None = None
        self._turns: deque[ExchangeState] = deque()
        self._held: set[asyncio.Future[bool]] = set()
        self._opaque = False
        self._client_gone = False
        self._unanswered: Exchange | None = None

    async def run(self) -> None:
        """Copy until either side ends or a fault does; leave no task and no socket."""
        try:
            end = await self._copy()
            if end is End.CLOSE:
                await self._drain_client()
        finally:
            self.close()

    def close(self) -> None:
        """Close both sockets."""
        self._client.close()
        if self._server is not None:
            self._server.close()

    async def _copy(self) -> End:
        reading, forwarding, delivering = tasks = [
            asyncio.create_task(work, name=f"proxy connection {self._number}")
            for work in (self._read_client(), self._forward(), self._deliver())
        ]
        try:
            end = await first_end(tasks)
            await stop(reading, forwarding)
            # A server that is closed on before it begins to answer may drop what it has read.
            if self._unanswered is None:
                await stop(delivering)
            if end is End.RESET:
                await drain(self._client)
                reset(self._client)
            else:
                end_writing(self._client)
            await asyncio.wait({delivering})
            if self._server is not None and end is End.RESET:
                await drain(self._server)
                reset(self._server)
            elif self._server is not None:
                self._server.close()
        finally:
            await stop(*tasks)
        return end

    # The client's side.

    async def _read_client(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._client, _READ):
            await self._inbox.put(data)
        self._client_gone = True
        for held in self._held:
            if not held.done():
                held.set_result(False)
        await self._inbox.put(b"")

    async def _forward(self) -> End | None:
        waiting = b""
        while data := await self._inbox.get():
            waiting, end = await self._forward_read(waiting + data)
            if end is not None:
                return end
        if waiting:
            await self._to_server(waiting)
        if self._server is None:
            return End.CLOSE
        end_writing(self._server)
        return None

    async def _forward_read(self, data: bytes) -> tuple[bytes, End | None]:
        """Forward what is known for what it is, and return the rest."""
        while data:
            if self._request is None:
                head = MessageReader()
                head.feed(data)
                self._opaque |= head.opaque
                if self._opaque:
                    await self._to_server(data)
                    return b"", None
                if head.body_at is None:
                    return data, None
                self._request, data = self._begin(data, head.body_at)
            turn = self._request
            used, end = await self._past_faults(turn, turn.up, data)
            if end is not None:
                return b"", end
            data = data[used:]
            if turn.up.reader.complete:
                if turn.answer is not None and not turn.answer.forward:
                    return b"", await self._answer(turn, turn.answer)
                self._request = None
        return b"", None

    def _begin(self, data: bytes, head_size: int) -> tuple[ExchangeState, bytes]:
        head, rest = data[:head_size], data[head_size:]
        exchange = Exchange(self._number, head)
        faults = self._network.plan(exchange)
        for fault in faults:
            if isinstance(fault, StripQuery):
                head = strip_query(head, fault.name)
            if isinstance(fault, StripQuery | Trickle):
                self._network.fire(exchange, fault)
        turn = ExchangeState(exchange, faults)
        self._turns.append(turn)
        return turn, head + rest

    async def _send_up(self, turn: ExchangeState, data: bytes) -> None:
        if turn.answer is None or turn.answer.forward:
            await self._to_server(data)
            turn.exchange.bytes_up += len(data)
            self._network.changed()

    async def _to_server(self, data: bytes) -> None:
        # Connected by the first byte, so that a server behind `request=0` never sees a connection.
        if self._server is None:
            self._server = await self._network.connect()
            self._connected.set_result(self._server)
        await asyncio.get_running_loop().sock_sendall(self._server, data)

    # The server's side.

    async def _deliver(self) -> End:
        loop = asyncio.get_running_loop()
        server = await self._connected
        while data := await loop.sock_recv(server, _READ):
            if self._unanswered is not None:
                self._begins_to_answer(self._unanswered)
                break
            if (end := await self._deliver_read(data)) is not None:
                return end
        else:
            if self._turns and self._turns[0].down.reader.until_eof:
                turn = self._turns[0]
                self._finishes()
                return await self._past_end(turn)
        return End.CLOSE

    async def _deliver_read(self, data: bytes) -> End | None:
        while data:
            if not self._turns:
                await asyncio.get_running_loop().sock_sendall(self._client, data)
                return None
            turn = self._turns[0]
            self._begins_to_answer(turn.exchange)
            if turn.answer is not None:
                return await self._answer(turn, turn.answer)
            used, end = await self._past_faults(turn, turn.down, data)
            if end is not None:
                return end
            data = data[used:]
            if turn.down.reader.complete:
                self._finishes()
        return None

    async def _answer(self, turn: ExchangeState, answer: CannedResponse) -> End:
        self._network.fire(turn.exchange, answer)
        used, end = await self._past_faults(turn, turn.down, answer.data)
        if end is not None:
            return end
        await self._send_down(turn, answer.data[used:])
        return await self._past_end(turn)

    async def _past_end(self, turn: ExchangeState) -> End:
        for fault in turn.down.end():
            if (end := await self._apply(turn, fault)) is not None:
                return end
        return End.CLOSE

    async def _send_down(self, turn: ExchangeState, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data:
            piece = data[: next(turn.sizes)] if turn.sizes else data
            await loop.sock_sendall(self._client, piece)
            turn.exchange.bytes_down += len(piece)
            self._network.changed()
            data = data[len(piece) :]
            for _ in range(_TURNS_UNTIL_READ if turn.sizes else 0):
                await asyncio.sleep(0)

    def _begins_to_answer(self, exchange: Exchange) -> None:
        if not exchange.answered:
            exchange.answered = True
            self._network.changed()

    def _finishes(self) -> None:
        self._turns.popleft().exchange.finished = True
        self._network.changed()

    # Faults.

    async def _past_faults(
        self, turn: ExchangeState, course: FaultCursor, data: bytes
    ) -> tuple[int, End | None]:
        send = self._send_up if course is turn.up else self._send_down
        used, points = course.feed(data)
        sent = 0
        for place, fault in points:
            if place > sent:
                await send(turn, data[sent:place])
                sent = place
            if (end := await self._apply(turn, fault)) is not None:
                forwarded = course is turn.up and course.reader.complete and sent == used
                if forwarded and self._server is not None and not turn.exchange.answered:
                    self._unanswered = turn.exchange
                return used, end
        if used > sent:
            await send(turn, data[sent:used])
        return used, None

    async def _apply(self, turn: ExchangeState, fault: Placed) -> End | None:
        self._network.fire(turn.exchange, fault)
        if isinstance(fault, Stall):
            return None if await self._stall(fault) else End.CLOSE
        return End.RESET if isinstance(fault, Reset) else End.CLOSE

    async def _stall(self, fault: Stall) -> bool:
        """Hold until released, and tell whether the client is still there."""
        if self._client_gone:
            return False
        held: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._held.add(held)
        if fault.until is None:
            self._network.held.add(held)
            self._network.changed()
        try:
            return await (held if fault.until is None else first_of(held, fault.until))
        finally:
            self._held.discard(held)
            self._network.held.discard(held)

    # The end.

    async def _drain_client(self) -> None:
        """Read on until the client goes: closed with unread bytes, a socket sends a reset."""
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while not self._client_gone and await loop.sock_recv(self._client, _READ):
                pass
