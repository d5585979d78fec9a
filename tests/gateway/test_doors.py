"""Who gets in: keys and credits, hosts and origins, and what is too large or no HTTP at all."""

import asyncio
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st

from foxapi_async.errors import ConfigError
from foxapi_async.gateway import Gateway
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import ANONYMOUS, APIKeys
from foxapi_async.gateway.origin_check import OriginCheck
from foxapi_async.gateway.store import MemoryStore

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

SUBMIT = "/v1/llm/generations"
MODELS = "/v1/configs/llm_generations_models"
HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}


async def raw(service: "Service", data: bytes) -> tuple[int, bytes]:
    """Send bytes as they are, and return the status and the body of the first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.gateway.port)
    try:
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        length = next(
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le")
        )
        return status, await reader.readexactly(length)
    finally:
        writer.close()
        await writer.wait_closed()


def arriving(at: str, *, peer: str = "127.0.0.1", **headers: str) -> web.Request:
    """Return a request that came to this address of the machine: no test has another machine."""
    ends = {"sockname": (at, 8787), "peername": (peer, 50000)}
    transport = Mock(get_extra_info=ends.get)
    return make_mocked_request("GET", MODELS, headers=headers, transport=transport)


async def test_tasks_of_one_key_are_not_there_for_another(serve: "Serve") -> None:
    """A task and its stream are 404 to another key, as if they had never been."""
    service = await serve(api_keys=["sk-one", "sk-two"])
    task = (await service.post("sk-one", **HELLO, stream=True)).json
    for path in (f"/v1/tasks/{task['id']}", f"{SUBMIT}/{task['id']}/stream"):
        assert (await service.call("GET", path, key="sk-one")).status == 200
        reply = await service.call("GET", path, key="sk-two")
        assert (reply.status, reply.json["error"]["type"]) == (404, "not_found")


async def test_without_keys_everybody_is_the_same(serve: "Serve") -> None:
    """A gateway that lets any token in tells nobody apart."""
    service = await serve()
    task = (await service.post("sk-one", **HELLO)).json
    assert (await service.call("GET", f"/v1/tasks/{task['id']}", key="sk-two")).status == 200


async def test_credits_are_spent(serve: "Serve") -> None:
    """Each accepted generation costs its price, and 402 says that the rest is not enough."""
    service = await serve(api_keys={"sk-poor": 5, "sk-rich": None}, price=2)
    statuses = [(await service.post("sk-poor", **HELLO)).status for _ in range(3)]
    assert statuses == [200, 200, 402]
    reply = await service.post("sk-poor", **HELLO)
    assert reply.json["error"]["type"] == "insufficient_quota"
    assert "1 credits are left" in reply.json["error"]["message"]
    assert (await service.post("sk-poor", model="gpt-5.5")).status == 422
    assert (await service.post("sk-rich", **HELLO)).status == 200
    assert service.gateway.stats.tasks == 3


async def test_what_is_refused_costs_nothing(serve: "Serve") -> None:
    """Only a task is paid for: refused requests, queries and streams are free."""
    service = await serve(api_keys={"sk-poor": 1})
    for _ in range(3):
        assert (await service.post("sk-poor", model="gpt-5.5", messages=[])).status == 422
    task = (await service.post("sk-poor", **HELLO, stream=True)).json
    for _ in range(3):
        reply = await service.call("GET", f"{SUBMIT}/{task['id']}/stream", key="sk-poor")
        assert reply.status == 200


async def test_credits_are_not_overdrawn_at_once(serve: "Serve") -> None:
    """Submits at the same time spend no more than there is."""
    service = await serve(api_keys={"sk-poor": 7})
    replies = await asyncio.gather(*(service.post("sk-poor", **HELLO) for _ in range(20)))
    assert sorted(reply.status for reply in replies) == [200] * 7 + [402] * 13


def test_an_owner_is_no_key() -> None:
    """What stands for a key where tasks are kept does not tell it, and differs from key to key."""
    keys = APIKeys({"sk-one": None, "sk-two": None}, price=1)
    one, two = keys.authenticate("Bearer sk-one"), keys.authenticate("Bearer sk-two")
    assert one != two
    assert "sk-one" not in one
    assert APIKeys({}, price=1).authenticate("Bearer whatever") == ANONYMOUS
    with pytest.raises(APIError):
        keys.authenticate("Bearer sk-three")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:8787"}, 200),
        ({"Host": "127.1.2.3:1"}, 200),
        ({"Host": "[::1]:8787"}, 200),
        ({"Host": "known.example"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example:8787"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "192.168.1.1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "[::1]evil.example"}, 403),
        ({"Host": "[::1].evil.example:80"}, 403),
        ({"Host": "evil.example[::1]"}, 403),
        ({"Host": "[localhost"}, 403),
        ({"Host": "::1"}, 403),
        ({"Host": "localhost:evil.example"}, 403),
        ({"Host": "localhost:80:evil.example"}, 403),
        ({"Host": "localhost:"}, 200),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "localhost/evil.example"}, 403),
        ({"Host": "localhost evil.example"}, 403),
        ({"Host": "[::1]"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8787"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_a_web_page_stays_outside(
    serve: "Serve", headers: dict[str, str], status: int
) -> None:
    """A page in the user's browser gets 403 on every route, under whatever name it resolved."""
    service = await serve(hosts=["known.example"])
    for path in (MODELS, "/healthz", "/_gateway/stats", "/nothing"):
        reply = await service.call("GET", path, headers=headers)
        assert reply.status == (404 if (path, status) == ("/nothing", 200) else status)
        assert "Access-Control-Allow-Origin" not in reply.headers
    reply = await service.call("POST", SUBMIT, json=HELLO, headers=headers)
    assert reply.status == status
    assert service.gateway.stats.tasks == (status == 200)
    if status == 403:
        assert reply.json["error"]["type"] == "permission_error"
        assert (await service.call("OPTIONS", SUBMIT, headers=headers)).status == 403


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
@pytest.mark.parametrize("path", [SUBMIT, "/_gateway/faults", "/_gateway/clock"])
async def test_a_form_is_no_request(service: "Service", kind: str, path: str) -> None:
    """What a form of a page can send without asking is refused, JSON inside or not."""
    reply = await service.call(
        "POST", path, data=json.dumps(HELLO).encode(), headers={"Content-Type": kind}
    )
    assert reply.status in {400, 409}
    assert service.gateway.stats.tasks == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "gateway.example"])
def test_other_machines_need_a_key(host: str) -> None:
    """A gateway that other machines can reach is not built without keys."""
    with pytest.raises(ConfigError, match="api_keys"):
        Gateway(host)
    assert Gateway(host, api_keys=["sk-one"]).host == host


async def test_other_machines_may_use_any_name() -> None:
    """What comes over another interface than loopback is let in by its key, under any name."""
    gateway = Gateway("0.0.0.0", api_keys=["sk-one"])
    async with gateway, aiohttp.ClientSession() as http:
        for host, status in (("localhost", 200), ("elsewhere.example", 403)):
            url = f"http://127.0.0.1:{gateway.port}{MODELS}"
            headers = {"Host": host, "Authorization": "Bearer sk-one"}
            async with http.get(url, headers=headers) as response:
                assert response.status == status
    away = OriginCheck(APIKeys({"sk-one": None}, price=1))
    away.check(arriving("198.51.100.7", Host="elsewhere.example"))
    with pytest.raises(APIError):
        away.check_admin(arriving("198.51.100.7", peer="203.0.113.9"))
    away.check_admin(arriving("198.51.100.7", peer="203.0.113.9", Authorization="Bearer sk-one"))


@pytest.mark.parametrize(
    "data",
    [
        b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 20_000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: %s\r\n\r\n" % (b"a" * 20_000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
        % b"".join(b"X-%d: 1\r\n" % n for n in range(500)),
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a greeting in TLS\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        (
            b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n{}"
        ),
    ],
)
async def test_no_http_is_answered_in_the_envelope(service: "Service", data: bytes) -> None:
    """What is no HTTP, or too large to be any, gets 400 in the envelope, and nothing repeats it."""
    status, body = await raw(service, data)
    assert status in {400, 431}
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert b"aaaa" not in body
    assert (await service.call("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /v1/tasks/%%zz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n", 404),
        (
            b"GET /v1/tasks/%ff%fe HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
            404,
        ),
        (b"GET //v1//tasks HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"TRACE /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"BREW /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n\r\n", 417),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: \xff\xfe\r\n\r\n", 417),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nExpect: \xff\r\n\r\n", 417),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: \xff\r\n\r\n", 403),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\r\n\r\n", 403),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\r\n\r\n", 404),
        (b"GET /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: \xff\r\n\r\n", 401),
        (
            (
                b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                b"Content-Type: \xff\r\n\r\n{}"
            ),
            400,
        ),
        (
            (
                b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n{}"
            ),
            400,
        ),
    ],
)
async def test_odd_requests_have_ordinary_answers(
    service: "Service", data: bytes, expected: int
) -> None:
    """Odd paths, methods and headers are answered in the envelope like any other mistake."""
    status, body = await raw(service, data)
    assert status == expected
    if status != 200:
        assert json.loads(body)["error"]["message"]


@given(
    st.lists(
        st.sampled_from(
            [
                *(b"GET ", b"POST ", b"/v1/llm/generations", b"/v1/tasks/", b"x", b"%", b" "),
                *(b" HTTP/1.1\r\n", b"\r\n", b"Host: localhost\r\n", b"Content-Length: 5\r\n"),
                *(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"\x00"),
                *(b"Authorization: Bearer x\r\n", b"Content-Type: application/json\r\n", b"{}"),
            ]
        )
        | st.binary(max_size=8),
        max_size=16,
    )
)
@settings(max_examples=60)
def test_no_bytes_crash_it(fragments: list[bytes]) -> None:
    """Whatever bytes come, the gateway closes that connection and answers the next one."""

    async def attack() -> None:
        async with Gateway() as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"".join(fragments))
            writer.write_eof()
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.0 200 OK\r\n")
            writer.close()

    asyncio.run(attack())


async def test_a_client_that_leaves_in_its_body_is_no_crash(
    service: "Service", caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that ends in the middle of a request is no error of the gateway."""
    _, writer = await asyncio.open_connection("127.0.0.1", service.gateway.port)
    writer.write(
        b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
        b'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"model":'
    )
    while service.gateway.stats.submits == 0:
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()
    assert (await service.call("GET", "/healthz")).status == 200
    assert service.gateway.stats.tasks == 0
    assert "crashed" not in caplog.text


@pytest.mark.parametrize("form", ["text", "json"])
async def test_the_access_log_has_no_key(
    serve: "Serve", capsys: pytest.CaptureFixture[str], form: Any
) -> None:
    """A line for each answer tells method, path, status and time, never a header or a query."""
    service = await serve(log=form)
    answer = await service.call("GET", f"{MODELS}?key=sk-secret", key="sk-secret")
    await service.call("GET", "/v1/tasks/%0aevil", key="sk-secret")
    first, second = capsys.readouterr().err.splitlines()
    assert "sk-secret" not in first + second
    if form == "json":
        line = json.loads(first)
        assert (line["method"], line["path"], line["status"]) == ("GET", MODELS, 200)
        assert set(line) == {"method", "path", "status", "ms", "request_id"}
        assert line["request_id"] == answer.headers["x-request-id"]
    else:
        assert first.startswith(f"GET {MODELS} 200 ")
        assert second.startswith("GET /v1/tasks/%0Aevil 404 ")


@pytest.mark.parametrize("log", ["text", "json"])
@pytest.mark.parametrize("api_keys", [(), ("sk-first-secret-key", "sk-second-secret-key")])
async def test_the_access_log_masks_keys_in_a_path(
    serve: "Serve", capsys: pytest.CaptureFixture[str], api_keys: Any, log: Any
) -> None:
    """The token of a request and the configured keys are masked in its path and its method."""
    token, other = "sk-first-secret-key", "sk-second-secret-key"
    service = await serve(log=log, api_keys=api_keys)
    escaped = token.replace("-", "%2D")
    for path in (token, f"{other}/x", f"a/{escaped}/b", f"{token}{other}"):
        await service.call("GET", f"/v1/tasks/{path}", key=token)
    await raw(
        service,
        f"{token} /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode(),
    )
    lines = capsys.readouterr().err
    assert len(lines.splitlines()) >= 4
    for secret in (token, other) if api_keys else (token,):
        parts = {secret[at : at + 8] for at in range(len(secret) - 7)}
        assert not [part for part in parts if part in lines]
    assert escaped not in lines


async def test_a_crash_is_logged_without_the_key(
    serve: "Serve", caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log line of a crash has the path, and a key in the path is masked."""

    async def crash(*_: object) -> None:
        raise RuntimeError("broken")

    service = await serve()
    monkeypatch.setattr(MemoryStore, "answer", crash)
    reply = await service.call("GET", "/v1/tasks/sk-first-secret-key", key="sk-first-secret-key")
    assert (reply.status, reply.json["error"]["type"]) == (500, "server_error")
    (record,) = caplog.records
    assert "GET /v1/tasks/" in record.getMessage()
    assert "secret" not in record.getMessage()


async def test_a_warning_is_logged_without_the_key(
    service: "Service", caplog: pytest.LogCaptureFixture
) -> None:
    """The warning about a member that an accepted request should not have shows no key."""
    token = "sk-first-secret-key"
    message = {"role": "user", "content": "hello", token: 1}
    reply = await service.post(token, model="gpt-5.5", messages=[message])
    assert reply.status == 200
    assert "accepted with" in caplog.text
    assert "secret" not in caplog.text


async def test_a_log_that_nobody_reads_stops_nobody(
    serve: "Serve", monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the reader of the log has gone, as ``2>&1 | head`` does, requests are still answered."""
    service = await serve(log="text")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as nowhere:
        monkeypatch.setattr("sys.stderr", nowhere)
        for _ in range(2):
            assert (await service.call("GET", "/healthz")).status == 200
        monkeypatch.undo()
        with suppress(BrokenPipeError):
            nowhere.close()


async def test_a_body_that_cannot_be_decoded_makes_no_noise(
    service: "Service", caplog: pytest.LogCaptureFixture
) -> None:
    """What is not encoded as announced is 400, and no traceback is written for it."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    reply = await service.call("POST", SUBMIT, data=b"no gzip", headers=headers)
    assert reply.status == 400
    assert (await service.call("GET", "/healthz")).status == 200
    assert not caplog.records


async def test_nothing_is_logged_unasked(
    service: "Service", capsys: pytest.CaptureFixture[str]
) -> None:
    """Without ``log`` a gateway writes nothing."""
    await service.call("GET", MODELS)
    assert capsys.readouterr() == ("", "")
