"""Plain HTTP/1.1 on bare protocols: a client lean enough to keep a server's core busy."""

import asyncio
import json
from collections.abc import Callable, Iterator
from time import perf_counter


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self.on_data: Callable[[bytes], object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the waiters."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        """Collect an answer with a length, or hand on what streams."""
        if self.on_data is not None:
            self.on_data(data)
            return
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        mark = self._buffer.find(b"Content-Length: ", 0, head)
        end = head + 4 + int(self._buffer[mark + 16 : self._buffer.find(b"\r", mark)])
        if len(self._buffer) >= end and self._answer is not None:
            answer, self._answer = self._answer, None
            if not self._buffer.startswith(b"HTTP/1.1 200"):
                answer.set_exception(RuntimeError(bytes(self._buffer[:200]).decode()))
            else:
                answer.set_result(bytes(self._buffer[head + 4 : end]))
            self._buffer.clear()

    def send(self, request: bytes) -> None:
        """Write a request whose answer streams to ``on_data``."""
        if self._transport is None:
            raise RuntimeError("not connected")
        self._transport.write(request)

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Write a request and return the future of its body."""
        self._answer = asyncio.get_running_loop().create_future()
        self.send(request)
        return self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


async def connect(host: str, port: int) -> Connection:
    """Open one connection."""
    _, protocol = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return protocol


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """Write a request as it goes over the wire."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Authorization: Bearer sk-bench",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def submission(prompt: str, *, stream: bool = False) -> bytes:
    """Write the request of one generation."""
    message = {"role": "user", "content": prompt}
    generation = {"model": "gpt-5.5", "messages": [message], "stream": stream}
    return request("POST", "/v1/llm/generations", json.dumps(generation).encode())


def percentile(seconds: list[float], share: float) -> float:
    """Return the milliseconds that a share of all stays under."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1e3


async def drive(
    connections: list[Connection], requests: Iterator[bytes]
) -> tuple[list[bytes], list[float]]:
    """Send all requests, one at a time on each connection; return bodies and seconds."""
    bodies: list[bytes] = []
    seconds: list[float] = []

    async def work(connection: Connection) -> None:
        for item in requests:
            start = perf_counter()
            bodies.append(await connection.ask(item))
            seconds.append(perf_counter() - start)

    await asyncio.gather(*(work(connection) for connection in connections))
    return bodies, seconds
