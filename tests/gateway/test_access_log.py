"""The access log, and keys in any log line."""

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async.gateway.store import MemoryStore

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

SUBMIT = "/v1/llm/generations"
MODELS = "/v1/configs/llm_generations_models"
HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize("form", ["text", "json"])
async def test_the_access_log_has_no_header_or_query(
    serve: "Serve", capsys: pytest.CaptureFixture[str], form: Any
) -> None:
    """A line has the method, path, status and duration, and never a header or a query."""
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
    await service.send_bytes(
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
    monkeypatch.setattr(MemoryStore, "snapshot", crash)
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


async def test_a_closed_log_stops_no_request(
    serve: "Serve", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are still answered after the log's pipe was closed, as by ``2>&1 | head``."""
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


async def test_nothing_is_logged_by_default(
    service: "Service", capsys: pytest.CaptureFixture[str]
) -> None:
    """Without ``log`` a gateway writes nothing."""
    await service.call("GET", MODELS)
    assert capsys.readouterr() == ("", "")
