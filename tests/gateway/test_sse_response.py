"""The event stream of a task (contract §6)."""

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._clock import ManualClock, settle
from foxapi_async._wire.chunk import delta_decoder
from foxapi_async.gateway.sse_response import write_chunk

if TYPE_CHECKING:
    from tests.gateway.conftest import Event, Serve, Service

Read = Callable[[bytes], "list[Event]"]


def text(events: "list[Event]", member: str = "content") -> str:
    """Join the parts of one member of the first choice."""
    return "".join(
        event.data["choices"][0]["delta"].get(member, "")
        for event in events
        if event.name == "chunk" and event.data["choices"]
    )


async def test_a_stream_is_named_events_that_end_with_done(
    service: "Service", events: Read
) -> None:
    """A stream is chunks and then ``done`` with their number; their text is that of the task."""
    task = await service.submit("count 5 to 9", stream=True)
    reply = await service.stream(task["id"])
    assert reply.headers["Content-Type"] == "text/event-stream"
    assert "no-cache" in reply.headers["Cache-Control"]
    *chunks, done = events(reply.body)
    assert {event.name for event in chunks} == {"chunk"}
    assert done == ("done", {"total_chunks": len(chunks)})
    task = await service.task(task["id"])
    assert text(chunks) == task["results"][0]["choices"][0]["message"]["content"] == "5, 6, 7, 8, 9"


async def test_a_chunk_has_the_fields_of_the_client(service: "Service") -> None:
    """The client decodes every chunk, and no chunk has an unknown member."""
    task = await service.submit(
        stream=True, model="kimi-k2.6", stream_options={"include_usage": True}
    )
    body = (await service.stream(task["id"])).body
    datas = [line[6:] for line in body.splitlines() if line.startswith(b'data: {"id"')]
    read = [delta_decoder.decode_strict(data) for data in datas]
    assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in read} == {
        (read[0].id, task["created"], "kimi-k2.6", "chat.completion.chunk")
    }
    assert all(b":null" not in data.replace(b'"finish_reason":null', b"") for data in datas)


async def test_an_offset_skips_that_many_chunks(service: "Service") -> None:
    """``?offset=N`` omits exactly the first N chunks; ``done`` has the total."""
    task = await service.submit("count 1 to 6", stream=True)
    body = (await service.stream(task["id"])).body
    blocks = body.split(b"\n\n")
    for offset in range(len(blocks) + 3):
        rest = blocks[min(offset, len(blocks) - 2) :]
        reply = await service.stream(task["id"], f"?offset={offset}")
        assert reply.body == b"\n\n".join(rest)
    assert service.gateway.stats.streams == len(blocks) + 4


async def test_a_replay_is_the_live_stream(serve: "Serve") -> None:
    """The bytes of a stream are the same live, from the middle of the task, and replayed."""
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=1, token_delay=1)
    task = await service.submit("tell me something", stream=True, n=2)
    readers = [asyncio.create_task(service.stream(task["id"]))]
    for _ in range(3):
        await clock.advance(3)
        readers.append(asyncio.create_task(service.stream(task["id"])))
        while service.gateway.stats.streams < len(readers):
            await settle()
    await clock.advance(200)
    replies = [await reader for reader in readers]
    replies.append(await service.stream(task["id"]))
    assert len({reply.body for reply in replies}) == 1
    assert b"event: done" in replies[0].body


async def test_chunks_are_sent_when_they_are_written(serve: "Serve") -> None:
    """A stream opens before its task begins, and each chunk is sent at its time."""
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=10, token_delay=5)
    task = await service.submit("count 1 to 3", stream=True)
    response = await service.open_stream(task["id"])
    assert (await service.task(task["id"]))["status"] == "pending"
    await clock.advance(10)
    assert service.gateway.stats.chunks == 0
    for number in range(1, 4):
        await clock.advance(5)
        assert service.gateway.stats.chunks == number
        block = await response.content.readuntil(b"\n\n")
        assert f"{number}".encode() in block.partition(b'"content":')[2]
    response.close()


async def test_thinking_has_its_own_pace(serve: "Serve", events: Read) -> None:
    """Reasoning is written with ``thinking_delay``, with or without a stream."""
    clock = ManualClock()
    service = await serve(clock=clock, token_delay=100, thinking_delay=1)
    streamed = await service.submit("count 1 to 3", model="kimi-k2.6", stream=True)
    plain = await service.submit("count 1 to 3", model="kimi-k2.6")
    await clock.advance(99)
    # 23 words of reasoning at one a second; the first word of the answer comes 100 seconds later.
    thought = service.gateway.stats.chunks
    assert 10 < thought < 50
    assert (await service.task(plain["id"]))["status"] == "processing"
    await clock.advance(500)
    chunks = events((await service.stream(streamed["id"])).body)
    assert len(text(chunks, "reasoning_content").split()) == thought
    assert (await service.task(plain["id"]))["status"] == "completed"


@pytest.mark.parametrize("written", [0, 3])
async def test_a_failing_task_ends_its_stream_with_error(
    service: "Service", events: Read, written: int
) -> None:
    """The stream of a failed task ends with ``error`` and its message, and so does a replay."""
    task = await service.submit(f"[[fail:timeout:{written}]]", stream=True)
    body = (await service.stream(task["id"])).body
    *chunks, error = events(body)
    assert len(chunks) == written
    assert (error.name, error.data) == ("error", {"message": "the upstream service was too slow"})
    task = await service.task(task["id"])
    assert task["error"]["message"] == error.data["message"]
    assert (await service.stream(task["id"])).body == body


async def test_only_a_streamed_task_has_a_stream(service: "Service") -> None:
    """A task that was submitted without ``stream=true``, or an unknown one, has no stream."""
    task = await service.submit(stream=False)
    for task_id in (task["id"], "task-llm-1-abcdefgh"):
        reply = await service.stream(task_id)
        assert reply.status == 404
        assert reply.json["error"]["type"] == "not_found"
        assert set(reply.json["error"]) == {"message", "type"}


@pytest.mark.parametrize("offset", ["-1", "1.5", "x", "%20", "+1", "1e3", "9" * 30, "٣", ""])
async def test_a_bad_offset_is_refused(service: "Service", offset: str) -> None:
    """An offset that is not a number of chunks is a 422."""
    task = await service.submit(stream=True)
    reply = await service.stream(task["id"], f"?offset={offset}")
    assert reply.status == 422
    assert reply.json["error"] == {
        "message": reply.json["error"]["message"],
        "type": "invalid_request_error",
        "code": "invalid_param",
        "param": "offset",
    }


async def test_a_stream_is_kept_for_its_retention(serve: "Serve") -> None:
    """A stream can be replayed for 900 seconds after its end; its task stays longer."""
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=2000)
    task = await service.submit(stream=True)
    await clock.advance(2000)
    await clock.advance(899)
    assert (await service.stream(task["id"])).status == 200
    await clock.advance(1)
    reply = await service.stream(task["id"])
    assert (reply.status, reply.json["error"]["type"]) == (404, "not_found")
    assert (await service.task(task["id"]))["status"] == "completed"


async def test_a_stream_that_is_open_outlives_the_retention(serve: "Serve") -> None:
    """A stream that was opened in time is sent to its end, however long that takes."""
    clock = ManualClock()
    service = await serve(clock=clock, token_delay=1)
    task = await service.submit("count 1 to 3", stream=True)
    response = await service.open_stream(task["id"])
    await clock.advance(5000)
    assert (await response.read()).endswith(b'data: {"total_chunks":4}\n\n')


@asynccontextmanager
async def stalled(service: "Service", task_id: str) -> AsyncIterator[None]:
    """Open a stream and read nothing of it."""
    loop = asyncio.get_running_loop()
    path = f"/v1/llm/generations/{task_id}/stream"
    asked = service.gateway.stats.streams
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n"
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.setblocking(False)
        await loop.sock_connect(reader, ("127.0.0.1", service.gateway.port))
        await loop.sock_sendall(reader, request.encode())
        while service.gateway.stats.streams == asked:
            await settle()
        yield


async def test_a_stalled_client_delays_nothing_else(serve: "Serve") -> None:
    """A client that does not read delays neither the task nor other streams nor the shutdown."""
    service = await serve()
    task = await service.submit("count 1 to 1000", stream=True, n=32)
    async with stalled(service, task["id"]):
        reply = await service.stream(task["id"])
        assert reply.body.endswith(b'event: done\ndata: {"total_chunks":32032}\n\n')
        assert service.gateway.stats.streams_open == 1
        async with asyncio.timeout(1):
            await service.gateway.__aexit__(None, None, None)
    assert service.gateway.stats.streams_open == 0


async def test_a_stalled_client_costs_little_memory(serve: "Serve") -> None:
    """A client that does not read costs at most 256 KiB, however long the stream."""
    readers, most = 16, 256 * 1024
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=1, token_delay=0)
    task = await service.submit("count 1 to 1000", stream=True, n=32)
    async with AsyncExitStack() as stack:
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        # Half of them wait for chunks; the others connect when all chunks are written.
        for _ in range(readers // 2):
            await stack.enter_async_context(stalled(service, task["id"]))
        await clock.advance(1)
        size = len((await service.stream(task["id"])).body)
        for _ in range(readers // 2):
            await stack.enter_async_context(stalled(service, task["id"]))
        assert service.gateway.stats.streams_open == readers
        await settle()
        held, _ = tracemalloc.get_traced_memory()
    # All streams share the chunks, each of which is one object.
    assert most < size
    assert held < 2 * size + readers * most


async def test_a_disconnected_client_ends_its_stream(serve: "Serve") -> None:
    """A stream ends as soon as its client disconnects, even if no chunk is due."""
    service = await serve(clock=ManualClock(), queue_delay=1)
    task = await service.submit(stream=True)
    responses = [await service.open_stream(task["id"]) for _ in range(3)]
    assert service.gateway.stats.streams_open == 3
    responses[0].close()
    while service.gateway.stats.streams_open == 3:
        await settle()
    assert service.gateway.stats.streams_open == 2
    for response in responses:
        response.close()


async def test_closing_cuts_streams_without_done(serve: "Serve") -> None:
    """At shutdown an open stream ends without ``done``: its task is unfinished."""
    clock = ManualClock()
    service = await serve(clock=clock, token_delay=1)
    task = await service.submit("count 1 to 9", stream=True)
    response = await service.open_stream(task["id"])
    await clock.advance(2)
    await service.gateway.__aexit__(None, None, None)
    body = b""
    with suppress(aiohttp.ClientPayloadError):
        body = await response.read()
    assert body.count(b"event: chunk") == 2
    assert b"done" not in body
    assert clock.timers == 0


class _RecordingTransport(asyncio.WriteTransport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        """Keep the bytes."""
        self.written += bytes(data)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6))
def test_chunks_are_written_in_the_chunked_coding(pieces: list[bytes]) -> None:
    """Each piece is its length in hexadecimal, CR LF, the piece, CR LF; a parser reads them all."""
    transport = _RecordingTransport()
    for piece in pieces:
        write_chunk(transport, piece)
    rest, read = transport.written, list[bytes]()
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        assert size == f"{length:x}".encode()
        read.append(rest[:length])
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]
    assert read == pieces


async def test_a_live_stream_is_well_formed_http(serve: "Serve") -> None:
    """The bytes of a live stream are one chunked body, in which each event is a chunk."""
    clock = ManualClock()
    service = await serve(clock=clock, token_delay=1)
    task = await service.submit("count 1 to 3", stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.gateway.port)
    path = f"/v1/llm/generations/{task['id']}/stream"
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    while service.gateway.stats.streams_open == 0:
        await settle()
    for _ in range(6):
        await clock.advance(1)
    head_bytes, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"Transfer-Encoding: chunked" in head_bytes
    events = [piece for piece in body.split(b"\r\n") if piece.startswith(b"event: ")]
    assert [event.split(b"\n")[0] for event in events] == [b"event: chunk"] * 4 + [b"event: done"]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    assert body == framed + b"0\r\n\r\n"


async def test_many_streams_share_one_task(service: "Service") -> None:
    """A hundred streams of one task all have the whole of it."""
    task = await service.submit("count 1 to 50", stream=True)
    replies: list[Any] = await asyncio.gather(*(service.stream(task["id"]) for _ in range(100)))
    assert len({reply.body for reply in replies}) == 1
    assert service.gateway.stats.streams == 100
    assert service.gateway.stats.chunks == 51
