"""Upstreams that are absent, refuse, stall or are no model server at all."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async._clock import ManualClock
from foxapi_async.gateway import Upstream
from foxapi_async.gateway.models.upstream import answer_reader, chat_client
from tests.gateway.data_files import execute
from tests.gateway.scripted_upstream import (
    ANSWER,
    STREAM_HEAD,
    ScriptedUpstream,
    StartUpstream,
    ask,
    chunk,
    event,
    message,
    responds,
    response,
    scripted_upstream,
    sends,
    settings,
)

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

HTML = b"<!DOCTYPE html><html><head><title>Open WebUI</title></head></html>"
CERTIFICATE = Path(__file__).parents[1] / "transport" / "loopback.pem"
LOG = "foxapi_async.gateway.models.upstream.patience"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def absent(port: int, **options: Any) -> list[Upstream]:
    """Return the setting for an upstream that is not there."""
    return [Upstream(url=f"http://127.0.0.1:{port}/v1", models=["plain"], **options)]


@pytest.fixture
async def tls_upstream() -> AsyncIterator[ScriptedUpstream]:
    """Return an upstream that speaks TLS with an untrusted certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with scripted_upstream(sends(*ANSWER), context) as upstream:
        yield upstream


async def until_retries(service: "Service", count: int, clock: ManualClock | None = None) -> None:
    """Wait until tasks have been refused so often."""
    while service.gateway.stats.upstreams[0].retries < count:
        await (asyncio.sleep(0) if clock is None else clock.advance(0.25))


async def close(service: "Service") -> None:
    """Stop a gateway before the end of the test."""
    await service.gateway.__aexit__(None, None, None)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_task_that_was_not_asked_runs_after_a_restart(
    serve: "Serve", upstream: StartUpstream, tmp_path: Path, closed_port: int, *, stream: bool
) -> None:
    """A task that had a slot of an absent upstream is asked by the next run of the gateway."""
    data = tmp_path / "fox.db"
    one = await serve(data=data, upstreams=absent(closed_port))
    task = await one.submit(model="plain", stream=stream)
    await until_retries(one, 1)
    assert (await one.task(task["id"]))["status"] == "pending"
    await close(one)
    server = await upstream(sends(*ANSWER))
    two = await serve(data=data, upstreams=settings(server))
    assert message(await two.finished(task["id"]))["content"] == "Hello world"
    assert len(server.requests) == 1


async def test_a_task_is_started_before_it_is_sent(serve: "Serve", upstream: StartUpstream) -> None:
    """When the upstream reads a request, the store says already that it may have been asked."""
    found: list[str] = []

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number
        (task_id,) = ids
        found.append((await service.task(task_id))["status"])
        writer.write(STREAM_HEAD + b"".join(ANSWER))

    server = await upstream(script)
    service = await serve(upstreams=settings(server))
    ids = [(await service.submit())["id"]]
    await service.finished(ids[0])
    assert found == ["processing"]


@pytest.mark.parametrize("kind", ["upstream", "local"])
@pytest.mark.parametrize("is_started", [False, True])
async def test_no_other_model_answers_a_task_after_a_restart(
    serve: "Serve",
    upstream: StartUpstream,
    tmp_path: Path,
    closed_port: int,
    kind: str,
    *,
    is_started: bool,
) -> None:
    """Without the model of a task, the simulated one of the same name does not take its place."""
    data = tmp_path / "fox.db"
    release, begun = asyncio.Event(), asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number, writer
        begun.set()
        await release.wait()

    server = await upstream(script)
    options = {"models": ["gpt-5.5"], "patience": 60}
    url = server.url if is_started else f"http://127.0.0.1:{closed_port}/v1"
    one = await serve(data=data, upstreams=[Upstream(url=url, **options)])  # type: ignore[arg-type]
    task = await one.submit(stream=True)
    await (begun.wait() if is_started else until_retries(one, 1))
    await close(one)
    release.set()
    await asyncio.to_thread(execute, data, f"UPDATE task SET kind = '{kind}'")  # noqa: S608
    two = await serve(data=data)
    error = (await two.finished(task["id"]))["error"]
    if is_started:
        assert error["code"] == "service_restarted"
    else:
        assert error["code"] == "model_unavailable"
        assert f"add --{kind}" in error["message"]
    assert (await two.stream(task["id"])).body.count(b"event: ") == 1


async def test_a_simulated_task_does_not_go_to_an_upstream(
    serve: "Serve", upstream: StartUpstream, tmp_path: Path
) -> None:
    """A task that was free is not billed by an upstream that has the name after a restart."""
    data = tmp_path / "fox.db"
    one = await serve(data=data, clock=ManualClock(), queue_delay=10)
    task = await one.submit()
    await close(one)
    server = await upstream(sends(*ANSWER))
    two = await serve(data=data, upstreams=settings(server))
    error = (await two.finished(task["id"]))["error"]
    assert error["code"] == "model_unavailable"
    assert "the model was simulated" in error["message"]
    assert not server.requests


async def test_a_task_of_an_older_file_goes_to_the_model_of_its_name(
    serve: "Serve", tmp_path: Path, closed_port: int
) -> None:
    """Of a task of an earlier version it is unknown what answers it, so the name decides."""
    data = tmp_path / "fox.db"
    one = await serve(data=data, upstreams=absent(closed_port))
    task = await one.submit(model="plain")
    await until_retries(one, 1)
    await close(one)
    await asyncio.to_thread(execute, data, "UPDATE task SET kind = NULL")
    two = await serve(data=data, models=["plain"])
    assert (await two.finished(task["id"]))["status"] == "completed"


async def test_a_scripted_task_does_not_go_to_the_simulation(
    serve: "Serve", tmp_path: Path
) -> None:
    """A reply is kept in memory only, so its task ends with a restart, begun or not."""
    data = tmp_path / "fox.db"
    one = await serve(data=data, replies=["Hello"], clock=ManualClock(), queue_delay=10)
    task = await one.submit()
    await close(one)
    two = await serve(data=data)
    assert (await two.finished(task["id"]))["error"]["code"] == "service_restarted"


async def test_patience_counts_from_the_submit_for_queued_tasks(
    serve: "Serve", closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind an absent upstream no task waits longer than the patience, with a slot or without."""
    clock = ManualClock()
    service = await serve(
        clock=clock, upstreams=absent(closed_port, patience=60, concurrency=2), seed=1
    )
    counters = service.gateway.stats.upstreams[0]
    early = [await service.submit(model="plain") for _ in range(20)]
    await until_retries(service, 2, clock)
    await clock.advance(30 - clock.time())
    late = await service.submit(model="plain")
    while service.gateway.stats.failed < len(early):
        await clock.advance(0.25)
        assert clock.time() <= 62
    assert (await service.task(late["id"]))["status"] == "pending"
    while service.gateway.stats.failed <= len(early):
        await clock.advance(0.25)
        assert clock.time() <= 92
    for task in (*early, late):
        error = (await service.task(task["id"]))["error"]
        assert error["code"] == "model_unavailable"
        assert "Connection refused" in error["message"]
    assert (counters.waiting, counters.running) == (0, 0)
    lines = [record.message for record in caplog.records if record.name == LOG]
    reason = "the upstream cannot be reached: Connection refused"
    assert lines[0] == f"upstream {counters.url}: {reason}; its tasks wait for 60 seconds"
    assert "waiting tasks gave up" in lines[1]
    assert len(lines) == 2


async def test_patience_does_not_count_while_the_upstream_answers(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """Tasks wait for their turn at a slow upstream, also if it refuses a part of them."""
    clock = ManualClock()
    release = asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(STREAM_HEAD + chunk("Hello"))
            await writer.drain()
            await release.wait()
            writer.write(b"".join(ANSWER[1:]))
        elif release.is_set():
            writer.write(STREAM_HEAD + b"".join(ANSWER))
        else:
            writer.write(response(429))

    server = await upstream(script)
    service = await serve(clock=clock, upstreams=settings(server, patience=60, concurrency=2))
    first = await service.submit()
    while not service.gateway.stats.upstreams[0].chunks:
        await asyncio.sleep(0)
    refused = await service.submit()
    queued = await service.submit()
    await until_retries(service, 1)
    begin = clock.time()
    while (await service.task(refused["id"]))["status"] != "failed":
        await clock.advance(0.25)
    assert clock.time() - begin > 40
    await clock.advance(30)
    assert (await service.task(queued["id"]))["status"] != "failed"
    release.set()
    for task in (first, queued):
        while (await service.task(task["id"]))["status"] != "completed":
            await clock.advance(0.25)


@pytest.mark.parametrize("ping", [b": ping\n\n", event({"type": "ping"})])
async def test_keep_alives_are_no_answer(
    serve: "Serve", upstream: StartUpstream, monkeypatch: pytest.MonkeyPatch, ping: bytes
) -> None:
    """Comments and empty events prolong the silence to a multiple of the timeout, and no more."""
    loop = asyncio.get_running_loop()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        end = loop.time() + 0.2
        writer.write(STREAM_HEAD)
        while number == 1 or loop.time() < end:
            writer.write(ping)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"".join(ANSWER))

    server = await upstream(script)
    service = await serve(upstreams=settings(server, timeout=0.1))
    error = (await ask(service))["error"]
    assert error["code"] == "timeout"
    assert "0.1 seconds" in error["message"]
    # Long enough for a busy machine.
    monkeypatch.setattr(answer_reader, "_MAX_KEEP_ALIVE", 600)
    assert message(await ask(service))["content"] == "Hello world"


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "service_unavailable"), (503, "service_unavailable"), (400, "generation_failed")],
)
async def test_a_refusal_whose_body_stalls_has_its_status(
    serve: "Serve",
    upstream: StartUpstream,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
) -> None:
    """The body of an error is waited for shortly; the status alone is an answer."""
    monkeypatch.setattr(chat_client, "_BODY_TIMEOUT", 0.05)
    release = asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 100\r\n\r\n" % status)
            await release.wait()
        else:
            writer.write(STREAM_HEAD + b"".join(ANSWER))

    server = await upstream(script)
    service = await serve(upstreams=settings(server))
    error = (await ask(service))["error"]
    assert (error["code"], error["message"]) == (code, f"the upstream answered {status}")
    release.set()
    assert message(await ask(service))["content"] == "Hello world"


async def test_a_json_body_that_stalls_is_no_stream(
    serve: "Serve", upstream: StartUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A success with JSON has an error by its beginning."""
    monkeypatch.setattr(chat_client, "_BODY_TIMEOUT", 0.05)
    release = asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"choices":')
        await release.wait()

    server = await upstream(script)
    service = await serve(upstreams=settings(server))
    assert "with JSON in place of" in (await ask(service))["error"]["message"]
    release.set()


def head(content_type: str | None, status: int = 200) -> bytes:
    """Return the head of a response that ends with its connection."""
    line = b"" if content_type is None else f"Content-Type: {content_type}\r\n".encode()
    return b"HTTP/1.1 %d X\r\n%bConnection: close\r\n\r\n" % (status, line)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (head("text/html") + HTML, "model_unavailable", "200 with the web page 'Open WebUI'"),
        (head(None) + b"  \n" + HTML, "model_unavailable", "the web page 'Open WebUI'"),
        (head("text/event-stream") + HTML, "model_unavailable", "the web page 'Open WebUI'"),
        (head("text/html") + b"<html>", "model_unavailable", "200 with a web page in place of"),
        (head(None, 204), "model_unavailable", "204 with no Content-Type and no event"),
        (head(None), "model_unavailable", "200 with no Content-Type and no event"),
        (head("text/plain") + b"OK\n", "model_unavailable", "200 with text/plain and no event"),
        (head("text/html") + HTML, "model_unavailable", "check the URL of the upstream"),
        (head(None) + b'{"error":"no GPU"}', "service_unavailable", "failed: no GPU"),
        (head("text/plain") + b'{"error":"no GPU"}', "service_unavailable", "failed: no GPU"),
        (head(None) + b'{"choices":[]}', "service_unavailable", "may not support `stream`"),
        (head("text/html", 404) + HTML, "model_unavailable", "404: Open WebUI; check the URL"),
        (head(None, 404), "model_unavailable", "404: check the URL of the upstream"),
        (head(None, 503) + b"<title>busy</title>", "service_unavailable", "503: busy"),
        (head(None, 400) + b"HTTP to an HTTPS server", "generation_failed", "an HTTPS server"),
    ],
)
async def test_what_is_no_model_server_is_named(
    serve: "Serve", upstream: StartUpstream, answer: bytes, code: str, words: str
) -> None:
    """The error says what came in place of an event stream, and what to check."""
    server = await upstream(responds(answer))
    service = await serve(upstreams=settings(server))
    error = (await ask(service))["error"]
    assert error["code"] == code
    assert words in error["message"]
    assert "/v1" not in error["message"]


async def test_a_url_without_v1_is_suspected(serve: "Serve", upstream: StartUpstream) -> None:
    """The error of a wrong path says what most base URLs have and this one has not."""
    server = await upstream(responds(head("text/html") + HTML))
    url = server.url.removesuffix("/v1")
    service = await serve(upstreams=[Upstream(url=url, models=["gpt-5.5"], patience=0)])
    assert (await ask(service))["error"]["message"].endswith("which may lack /v1")


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json"])
async def test_an_event_stream_of_another_type_is_read(
    serve: "Serve", upstream: StartUpstream, content_type: str | None
) -> None:
    """A server that names its event stream wrongly answers all the same."""
    server = await upstream(sends(b"\n", *ANSWER, head=head(content_type)))
    service = await serve(upstreams=settings(server))
    assert message(await ask(service))["content"] == "Hello world"


async def test_https_to_a_plain_port_has_a_hint(serve: "Serve") -> None:
    """An `https` URL of a server without TLS has another error than a certificate that is wrong."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(response(400))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"https://127.0.0.1:{port}/v1"
        service = await serve(upstreams=[Upstream(url=url, models=["plain"], patience=0)])
        error = (await ask(service, model="plain"))["error"]
    assert error["code"] == "model_unavailable"
    assert "wrong version number" in error["message"]
    assert "must begin with http://" in error["message"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_tls_port_has_a_hint(
    serve: "Serve", tls_upstream: ScriptedUpstream, scheme: str
) -> None:
    """An `http` URL of a server with TLS has a hint; a certificate that is wrong has its reason."""
    url = f"{scheme}://127.0.0.1:{tls_upstream.port}/v1"
    service = await serve(upstreams=[Upstream(url=url, models=["plain"], patience=0)])
    task = await ask(service, model="plain")
    wanted = {
        "http": "if the upstream expects TLS, its URL must begin with https://",
        "https": "no valid TLS certificate: self-signed certificate",
    }
    assert wanted[scheme] in task["error"]["message"]
    assert not tls_upstream.requests
