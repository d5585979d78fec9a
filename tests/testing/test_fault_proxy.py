"""Laws of the fault proxy on real sockets."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from foxapi_async.testing import (
    HALF,
    WHOLE,
    CannedResponse,
    Close,
    Fault,
    FaultProxy,
    Pass,
    RefuseConnection,
    Reset,
    Stall,
    StripQuery,
    Trickle,
    settle,
)

EVENTS = [b"data: %d\n\n" % number for number in range(5)]


class Origin:
    """An HTTP/1.1 server that keeps connections alive and echoes the body of a POST.

    ``/stream`` answers with chunked events from ``?offset=`` on, ``/until-eof`` with a body that
    only the end of the connection ends, ``/ten`` with ten digits.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.bytes_read = 0
        self.requests: list[tuple[str, bytes]] = []
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        try:
            while await self.exchange(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.left.set()
            writer.close()
            self.tasks.discard(task)

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection is kept alive."""
        head = await reader.readexactly(1)
        if not head.isalpha():
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return False
        head += await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")),
            0,
        )
        body = await reader.readexactly(length)
        self.bytes_read += len(head) + len(body)
        target = head.split()[1].decode()
        self.requests.append((target, body))
        self.arrived.set()
        url = urlsplit(target)
        if url.path == "/until-eof":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n0123456789")
            return False
        if url.path == "/stream":
            offset = int(parse_qs(url.query).get("offset", ["0"])[0])
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for event in EVENTS[offset:]:
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            writer.write(b"0\r\n\r\n")
            return True
        if url.path == "/endless":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"ffff\r\n%b\r\n" % (b"." * 0xFFFF))
                await writer.drain()
                await asyncio.sleep(0)
        answer = body or b"0123456789"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        return True


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """Run the server for one test."""
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    origin.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield origin
    server.close()
    for task in tuple(origin.tasks):
        task.cancel()
    if origin.tasks:
        await asyncio.wait(origin.tasks)
    await asyncio.sleep(0)


@pytest.fixture
async def fault_proxy(origin: Origin) -> AsyncIterator[FaultProxy]:
    """Run a proxy in front of the server for one test."""
    async with FaultProxy(origin.url) as fault_proxy:
        yield fault_proxy


class Client(asyncio.Protocol):
    """A raw client that records each read and the end of the connection."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Record a read."""
        self.reads.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the end: ``None`` is a clean one."""
        self.ended.set_result(exc)

    @property
    def read(self) -> bytes:
        """Return all bytes so far."""
        return b"".join(self.reads)


async def talk(fault_proxy: FaultProxy, *requests: bytes) -> Client:
    """Write bytes to the proxy on a new connection."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(Client, "127.0.0.1", fault_proxy.port)
    assert client.transport is not None
    client.transport.writelines(requests)
    return client


def get(target: str) -> bytes:
    """Write a GET."""
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def post(body: bytes) -> bytes:
    """Write a POST."""
    return b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


TEN_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
TEN = TEN_HEAD + b"0123456789"


async def leave(client: Client) -> None:
    """Close the client's side and wait for the end of the connection."""
    assert client.transport is not None
    client.transport.close()
    await client.ended


# Without faults.


async def test_requests_pass_untouched_and_share_a_connection(
    origin: Origin, fault_proxy: FaultProxy
) -> None:
    """Without faults the bytes and the connections are those of client and server."""
    async with aiohttp.ClientSession() as http:
        for size in (0, 1, 300_000):
            async with http.post(f"{fault_proxy.url}/echo", data=b"x" * size) as response:
                assert await response.read() == (b"x" * size or b"0123456789")
        async with http.get(f"{fault_proxy.url}/stream?offset=1") as response:
            assert await response.read() == b"".join(EVENTS[1:])
    assert fault_proxy.connections == origin.connections == 1
    assert fault_proxy.requests == ["POST /echo"] * 3 + ["GET /stream?offset=1"]
    assert fault_proxy.count("POST") == 3
    assert fault_proxy.count(path="/stream") == 1
    assert fault_proxy.bytes_up == origin.bytes_read
    assert all(exchange.finished for exchange in fault_proxy.exchanges)
    assert fault_proxy.fired == []


async def test_pipelined_requests_keep_their_own_answers(fault_proxy: FaultProxy) -> None:
    """Pipelined requests are separate exchanges, each with its own response."""
    client = await talk(fault_proxy, get("/1") + get("/2") + post(b"abc"))
    await fault_proxy.wait_until(lambda: sum(one.finished for one in fault_proxy.exchanges) == 3)
    assert [exchange.bytes_down for exchange in fault_proxy.exchanges] == [len(TEN), len(TEN), 41]
    await leave(client)


async def test_bytes_that_are_no_http_pass_too(origin: Origin, fault_proxy: FaultProxy) -> None:
    """A TLS client of a plain server fails as without the proxy, and uses up no step."""
    fault_proxy.script(Reset(request=0))
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorSSLError):
            await http.get(fault_proxy.url.replace("http:", "https:"), ssl=False)
    assert origin.connections == 1
    assert fault_proxy.requests == []


async def test_end_of_the_servers_connection_reaches_the_client(fault_proxy: FaultProxy) -> None:
    """A body that ends with the connection ends cleanly for the client."""
    client = await talk(fault_proxy, get("/until-eof"))
    assert await client.ended is None
    assert client.read.endswith(b"0123456789")
    assert fault_proxy.exchanges[0].finished


async def test_client_that_vanishes_is_gone_for_the_server(
    origin: Origin, fault_proxy: FaultProxy
) -> None:
    """A client that aborts a stream ends the connection of the server too."""
    client = await talk(fault_proxy, get("/endless"))
    await fault_proxy.wait_until(lambda: fault_proxy.bytes_down > 1_000)
    assert client.transport is not None
    client.transport.abort()
    await client.ended
    await origin.left.wait()
    await fault_proxy.wait_until(lambda: fault_proxy.open_connections == 0)


async def test_slow_reader_holds_the_server_back(fault_proxy: FaultProxy) -> None:
    """While a client does not read, the proxy stops reading from the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", fault_proxy.port, limit=1)
    writer.write(get("/endless"))
    await reader.readexactly(1)
    before = -1
    while before < fault_proxy.bytes_down:
        before = fault_proxy.bytes_down
        await settle(1_000)
    writer.close()
    await writer.wait_closed()


async def test_base_path_of_the_server_is_kept(origin: Origin) -> None:
    """The URL of the proxy differs from that of the server only in the address."""
    async with FaultProxy(f"{origin.url}/base/v1") as fault_proxy:
        assert fault_proxy.url == f"http://127.0.0.1:{fault_proxy.port}/base/v1"


# Positions.


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Reset(request=0), (b"", b"", ConnectionResetError)),
        (Close(request=0), (b"", b"", None)),
        (Reset(request=WHOLE), (post(b"0123456789"), b"", ConnectionResetError)),
        (Close(request=WHOLE), (post(b"0123456789"), b"", None)),
        (Reset(response=0), (post(b"0123456789"), b"", ConnectionResetError)),
        (Close(response=1), (post(b"0123456789"), TEN[:1], None)),
        (Reset(response=20), (post(b"0123456789"), TEN[:20], ConnectionResetError)),
        (Reset(body=0), (post(b"0123456789"), TEN_HEAD, ConnectionResetError)),
        (Close(body=HALF), (post(b"0123456789"), TEN[:-5], None)),
        (Reset(body=b"12"), (post(b"0123456789"), TEN[:-7], ConnectionResetError)),
        (Reset(response=WHOLE), (post(b"0123456789"), TEN, ConnectionResetError)),
        (Close(response=WHOLE), (post(b"0123456789"), TEN, None)),
    ],
)
async def test_cut_lies_at_its_byte(
    origin: Origin,
    fault_proxy: FaultProxy,
    fault: Fault,
    expected: tuple[bytes, bytes, type[ConnectionResetError] | None],
) -> None:
    """The bytes before the position arrive, those after it do not; the end is that of the fault."""
    fault_proxy.script(fault)
    client = await talk(fault_proxy, post(b"0123456789"))
    end = await client.ended
    server_read, client_read, kind = expected
    assert (type(end) if end else None) is kind
    assert client.read == client_read
    await fault_proxy.wait_until(lambda: fault_proxy.open_connections == 0)
    assert origin.bytes_read == len(server_read)
    assert origin.connections == bool(server_read)
    assert fault_proxy.fired == fault_proxy.exchanges[0].fired == [fault]


@pytest.mark.parametrize("kind", [Reset, Close])
async def test_cut_deep_inside_a_long_body_loses_nothing_before_it(
    fault_proxy: FaultProxy, kind: type[Reset | Close]
) -> None:
    """All bytes before the position arrive, even if they fill the buffers."""
    fault_proxy.script(kind(body=7_654_321))
    client = await talk(fault_proxy, post(b"x" * 8_000_000))
    await client.ended
    assert len(client.read.partition(b"\r\n\r\n")[2]) == 7_654_321


@pytest.mark.parametrize("kind", [Reset, Close])
async def test_cut_inside_the_request_leaves_the_server_a_part(
    origin: Origin, fault_proxy: FaultProxy, kind: type[Reset | Close]
) -> None:
    """With a position of k in the request the server receives k bytes and no request."""
    fault_proxy.script(kind(request=30))
    client = await talk(fault_proxy, post(b"x" * 100))
    await client.ended
    await origin.left.wait()
    assert fault_proxy.exchanges[0].bytes_up == 30
    assert origin.requests == []


async def test_server_that_has_the_request_gets_to_answer_it(
    origin: Origin, fault_proxy: FaultProxy
) -> None:
    """A fault at the end of the request disconnects the client; the server gets the request."""
    fault_proxy.script(Reset(request=WHOLE))
    client = await talk(fault_proxy, post(b"paid"))
    assert isinstance(await client.ended, ConnectionResetError)
    await fault_proxy.wait_until(lambda: fault_proxy.exchanges[0].answered)
    assert origin.requests == [("/submit", b"paid")]


async def test_place_that_no_message_reaches_does_not_fire(fault_proxy: FaultProxy) -> None:
    """A fault beyond the end of its message does not act, and is not recorded."""
    fault_proxy.script(Reset(body=11))
    client = await talk(fault_proxy, get("/ten"))
    await fault_proxy.wait_until(lambda: fault_proxy.bytes_down == len(TEN))
    assert client.read in (b"", TEN)
    await leave(client)
    assert fault_proxy.fired == []


# Stalls.


@pytest.mark.parametrize(
    ("fault", "before"),
    [
        (Stall(request=0), b""),
        (Stall(request=WHOLE), b""),
        (Stall(response=0), b""),
        (Stall(body=4), TEN[:-6]),
    ],
)
async def test_stall_holds_until_released(
    fault_proxy: FaultProxy, fault: Stall, before: bytes
) -> None:
    """The bytes after a stall arrive when it is released, and not before."""
    fault_proxy.script(fault)
    client = await talk(fault_proxy, get("/ten"))
    await fault_proxy.wait_for_stalls()
    await settle(200)
    if fault.request is None:
        assert client.read == before
    fault_proxy.release()
    await fault_proxy.wait_until(lambda: fault_proxy.exchanges[0].finished)
    await settle()
    assert client.read == TEN
    assert fault_proxy.stalled == 0
    await leave(client)


async def test_stall_waits_for_an_event_of_the_test(fault_proxy: FaultProxy) -> None:
    """A stall with an event ends when the event is set, or at once if it is set already."""
    event = asyncio.Event()
    fault_proxy.on("GET", "/ten", Stall(response=0, until=event))
    client = await talk(fault_proxy, get("/ten"))
    await fault_proxy.wait_for_requests(1)
    await fault_proxy.wait_until(lambda: fault_proxy.exchanges[0].answered)
    await settle(200)
    assert client.read == b""
    assert fault_proxy.stalled == 0
    event.set()
    await fault_proxy.wait_until(lambda: fault_proxy.exchanges[0].finished)
    assert client.transport is not None
    client.transport.write(get("/ten"))
    await fault_proxy.wait_until(lambda: fault_proxy.bytes_down == 2 * len(TEN))
    await leave(client)


@pytest.mark.parametrize("fault", [Stall(request=9), Stall(response=0), Stall(body=3)])
async def test_stall_ends_when_the_client_goes(fault_proxy: FaultProxy, fault: Stall) -> None:
    """When the client of a stalled exchange disconnects, nothing stays open."""
    fault_proxy.script(fault)
    client = await talk(fault_proxy, get("/ten"))
    await fault_proxy.wait_for_stalls()
    await leave(client)
    await fault_proxy.wait_until(lambda: fault_proxy.open_connections == 0)
    assert fault_proxy.stalled == 0


async def test_reset_after_a_stall_comes_on_command(fault_proxy: FaultProxy) -> None:
    """Faults at one position act in the given order: a stall, then a reset after its release."""
    fault_proxy.script((Stall(body=3), Reset(body=3)))
    client = await talk(fault_proxy, get("/ten"))
    await fault_proxy.wait_for_stalls()
    assert not client.ended.done()
    fault_proxy.release()
    assert isinstance(await client.ended, ConnectionResetError)
    assert client.read == TEN_HEAD + b"012"


# Other faults.


@pytest.mark.parametrize("sizes", [(1,), (7,), (3, 1, 30)])
async def test_trickle_cuts_the_clients_reads(
    fault_proxy: FaultProxy, sizes: tuple[int, ...]
) -> None:
    """With a trickle the reads of the client have the given sizes in turn."""
    fault_proxy.script((Trickle(*sizes), Close(response=WHOLE)))
    client = await talk(fault_proxy, get("/ten"))
    await client.ended
    assert client.read == TEN
    whole = client.reads[:-1]
    assert [len(read) for read in whole] == [sizes[i % len(sizes)] for i in range(len(whole))]


@pytest.mark.parametrize(
    "data", [b"\x00garbage", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
async def test_answer_takes_the_place_of_the_servers(
    origin: Origin, fault_proxy: FaultProxy, data: bytes
) -> None:
    """Any bytes can be the response; the server gets the request only with ``forward``."""
    fault_proxy.script(CannedResponse(data), CannedResponse(data, forward=True))
    for seen in ([], [("/submit", b"body")]):
        client = await talk(fault_proxy, post(b"body"))
        assert await client.ended is None
        assert client.read == data
        assert origin.requests == seen


async def test_answer_can_be_well_formed(fault_proxy: FaultProxy) -> None:
    """A canned HTTP response reaches an HTTP client with its status, headers and body."""
    fault_proxy.on(
        "GET", "*", CannedResponse.http(503, b"<html>", headers={"Retry-After": "7"}), times=1
    )
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{fault_proxy.url}/ten") as response:
            assert (response.status, response.reason) == (503, "Service Unavailable")
            assert response.headers["Retry-After"] == "7"
            assert response.content_type == "text/html"
            assert await response.read() == b"<html>"
        async with http.get(f"{fault_proxy.url}/ten") as response:
            assert response.status == 200


async def test_answer_can_fail_itself(fault_proxy: FaultProxy) -> None:
    """The positions of other faults refer to the canned response."""
    fault_proxy.script(
        (CannedResponse.http(200, b"abcdef"), Reset(body=3)),
        (CannedResponse(b"junk"), Stall(response=WHOLE)),
    )
    client = await talk(fault_proxy, get("/ten"))
    assert isinstance(await client.ended, ConnectionResetError)
    assert client.read.endswith(b"\r\n\r\nabc")
    client = await talk(fault_proxy, get("/ten"))
    await fault_proxy.wait_for_stalls()
    await settle()
    assert client.read == b"junk"
    assert not client.ended.done()
    fault_proxy.release()
    assert await client.ended is None


async def test_server_can_be_made_to_ignore_a_parameter(
    origin: Origin, fault_proxy: FaultProxy
) -> None:
    """A stripped parameter does not reach the server, but stays in the recorded target."""
    fault_proxy.on("GET", "/stream", StripQuery("offset"))
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{fault_proxy.url}/stream?offset=3") as response,
    ):
        assert await response.read() == b"".join(EVENTS)
    assert fault_proxy.requests == ["GET /stream?offset=3"]
    assert origin.requests == [("/stream", b"")]


async def test_a_refused_connection_does_not_reach_the_origin(
    origin: Origin, fault_proxy: FaultProxy
) -> None:
    """``RefuseConnection`` resets the next connection, and uses up no other step."""
    fault_proxy.script(RefuseConnection(), RefuseConnection(), CannedResponse(b"third"))
    for _ in range(2):
        client = await talk(fault_proxy, get("/ten"))
        assert isinstance(await client.ended, ConnectionResetError)
    client = await talk(fault_proxy, get("/ten"))
    assert await client.ended is None
    assert client.read == b"third"
    assert fault_proxy.connections == 3
    assert origin.connections == 0


async def test_unreachable_proxy_refuses_to_connect(fault_proxy: FaultProxy) -> None:
    """While unreachable, new connections fail, open ones work, and the port stays the same."""
    client = await talk(fault_proxy, get("/ten"))
    await fault_proxy.wait_until(lambda: fault_proxy.bytes_down == len(TEN))
    for size in (2 * len(TEN), 3 * len(TEN)):
        async with fault_proxy.unreachable():
            with pytest.raises(ConnectionRefusedError):
                await talk(fault_proxy, get("/ten"))
            assert client.transport is not None
            client.transport.write(get("/ten"))
            await fault_proxy.wait_until(lambda: fault_proxy.bytes_down == size)  # noqa: B023 awaited here
        other = await talk(fault_proxy)
        await leave(other)
    await leave(client)


async def test_server_that_is_down_looks_like_a_reset(unused_tcp_port: int) -> None:
    """Clients are reset if no server listens."""
    async with FaultProxy(f"http://127.0.0.1:{unused_tcp_port}") as fault_proxy:
        client = await talk(fault_proxy, get("/ten"))
        assert isinstance(await client.ended, ConnectionResetError)


# Scripts and rules.


async def test_steps_come_before_rules_and_rules_in_their_order(fault_proxy: FaultProxy) -> None:
    """The script comes first, then the first rule that matches and is not used up."""
    fault_proxy.on("GET", "/v1/tasks/*", CannedResponse(b"first"), times=1)
    fault_proxy.on("*", "/v1/tasks/*", CannedResponse(b"second"), times=1)
    fault_proxy.when(lambda exchange: exchange.query == "q=1", CannedResponse(b"query"))
    fault_proxy.on("GET", "*", CannedResponse(b"rest"))
    fault_proxy.script(CannedResponse(b"script"), Pass())
    seen: list[bytes] = []
    for target in ["/v1/tasks/1"] * 4 + ["/v1/tasks/1?q=1", "/v1/tasks/1/stream"]:
        client = await talk(fault_proxy, get(target))
        await settle(100)
        assert client.transport is not None
        await leave(client)
        seen.append(client.read)
    assert seen == [b"script", TEN, b"first", b"second", b"query", b"rest"]
    fault_proxy.clear()
    client = await talk(fault_proxy, get("/ten"))
    await fault_proxy.wait_until(lambda: fault_proxy.exchanges[-1].finished)
    await leave(client)


async def test_requests_can_be_waited_for(fault_proxy: FaultProxy) -> None:
    """A test can wait for requests and order its steps by them."""
    waiting = asyncio.create_task(fault_proxy.wait_for_requests(2, "GET", "/ten"))
    client = await talk(fault_proxy, get("/ten"), get("/other"))
    await fault_proxy.wait_for_requests(2)
    await settle()
    assert not waiting.done()
    assert client.transport is not None
    client.transport.write(get("/ten"))
    await waiting
    await leave(client)


@pytest.mark.parametrize(
    "faults",
    [
        (CannedResponse(b""), CannedResponse(b"")),
        (Trickle(1), Trickle(2)),
        (Pass(), RefuseConnection()),
    ],
)
def test_faults_that_exclude_each_other_are_refused(faults: tuple[Fault, ...]) -> None:
    """An exchange takes one canned response and one trickle, a refused connection none."""
    with pytest.raises(ValueError, match=r"one exchange|no exchange"):
        FaultProxy("http://127.0.0.1:1").script(faults)


# Opening and closing.


@pytest.mark.parametrize(
    "fault", [Pass(), Stall(request=5), Stall(body=1), Close(body=1), Trickle(1)]
)
async def test_leaving_cuts_what_is_open(origin: Origin, fault: Fault) -> None:
    """A closed proxy leaves no task and no socket, whatever it was doing."""
    before = asyncio.all_tasks()
    async with FaultProxy(origin.url) as fault_proxy:
        fault_proxy.script(fault)
        client = await talk(fault_proxy, get("/endless"))
        await fault_proxy.wait_for_requests(1)
        late = await talk(fault_proxy)
    await client.ended
    await late.ended
    await origin.left.wait()
    await settle()
    assert not {task for task in asyncio.all_tasks() - before if task not in origin.tasks}


async def test_connection_made_while_leaving_is_cut() -> None:
    """A client that connects while the proxy closes is disconnected too."""
    async with FaultProxy("http://127.0.0.1:9") as fault_proxy:
        sockets = [socket.socket() for _ in range(5)]
        for sock in sockets:
            sock.settimeout(0)
            sock.connect_ex(("127.0.0.1", fault_proxy.port))
    loop = asyncio.get_running_loop()
    for sock in sockets:
        with suppress(ConnectionResetError):
            assert await loop.sock_recv(sock, 1) == b""
        sock.close()


async def test_failure_of_the_proxy_itself_reaches_the_test(origin: Origin) -> None:
    """An error of the proxy is raised by a wait and at the end of ``async with``."""
    fault_proxy = FaultProxy(origin.url)
    with pytest.raises(ValueError, match="needs a Content-Length"):
        async with fault_proxy:
            fault_proxy.script(Reset(body=HALF))
            client = await talk(fault_proxy, get("/stream"))
            await client.ended
            with pytest.raises(RuntimeError, match="the proxy failed"):
                await fault_proxy.wait_for_requests(2)


async def test_failure_of_the_test_comes_first(origin: Origin) -> None:
    """An exception of the block is raised, with a note about the error of the proxy."""
    with pytest.raises(KeyError) as caught:
        async with FaultProxy(origin.url) as fault_proxy:
            fault_proxy.script(Reset(body=HALF))
            client = await talk(fault_proxy, get("/stream"))
            await client.ended
            raise KeyError
    assert "the proxy failed too" in caught.value.__notes__[0]


async def test_waiters_raise_when_the_proxy_closes(origin: Origin) -> None:
    """A wait on a closed proxy ends with an error."""
    async with FaultProxy(origin.url) as fault_proxy:
        waiting = asyncio.create_task(fault_proxy.wait_for_requests(1))
        await settle()
    with pytest.raises(RuntimeError, match="listens only inside"):
        await waiting
    with pytest.raises(RuntimeError, match="entered only once"):
        await fault_proxy.__aenter__()


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:1", "http://"])
def test_only_plain_http_is_taken(url: str) -> None:
    """A URL that is not plain HTTP is refused."""
    with pytest.raises(ValueError, match="http:// URL"):
        FaultProxy(url)


def test_door_loads_no_http_library() -> None:
    """The public names can be used without aiohttp and pytest."""
    code = (
        "import sys; from foxapi_async.testing import *; "
        "sys.exit(bool({'aiohttp', 'pytest'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
