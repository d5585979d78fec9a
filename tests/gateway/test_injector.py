"""Injected faults as a client sees them."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from foxapi_async._clock import ManualClock
from foxapi_async.errors import ConfigError
from foxapi_async.gateway import FaultRule, Gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.conftest import Serve, Service

SUBMIT = "/v1/llm/generations"
MODELS = "/v1/configs/llm_generations_models"
HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(params=["memory", "file"])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the setting of the store: faults act in the same way with each store."""
    return {"data": tmp_path / "foxapi.db"} if request.param == "file" else {}


async def test_a_status_comes_in_the_envelope(serve: "Serve") -> None:
    """An injected error has the envelope of the service and the fields of the rule."""
    rule = FaultRule(
        on="submit",
        fault="status",
        status=429,
        code="slow_down",
        message="calm, please",
        retry_after=2,
        nth=1,
    )
    service = await serve(faults=[rule])
    reply = await service.post(**HELLO)
    assert (reply.status, reply.headers["Retry-After"]) == (429, "2")
    assert reply.json == {
        "error": {"message": "calm, please", "type": "rate_limit_error", "code": "slow_down"}
    }
    assert (await service.post(**HELLO)).status == 200
    stats = service.gateway.stats
    assert (stats.submits, stats.tasks, stats.faults) == (2, 1, 1)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "insufficient_quota"),
        (404, "not_found"),
        (413, "file_too_large_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "service_unavailable"),
    ],
)
async def test_each_status_has_its_type(serve: "Serve", status: int, kind: str) -> None:
    """The type of an injected error is the one of the service for its status."""
    service = await serve(faults=[f"any:{status}"])
    for method, path in (("GET", MODELS), ("POST", SUBMIT), ("GET", "/v1/tasks/x")):
        reply = await service.call(method, path)
        assert (reply.status, reply.json["error"]["type"]) == (status, kind)


@pytest.mark.parametrize("fault", ["html", "empty", "503", "reset"])
@pytest.mark.parametrize("late", [False, True])
async def test_a_late_fault_acts_after_the_task_was_created(
    serve: "Serve", store_settings: dict[str, Any], fault: str, *, late: bool
) -> None:
    """A late fault of a submit changes only the response; without ``late`` no task is created."""
    service = await serve(faults=[f"submit:{fault}:late={late}"], **store_settings)
    if fault == "reset":
        with pytest.raises(aiohttp.ClientOSError):
            await service.post(**HELLO)
    else:
        reply = await service.post(**HELLO)
        assert reply.status == (503 if fault == "503" else 200)
        assert b"task-llm" not in reply.body
    assert service.gateway.stats.tasks == int(late)
    assert service.gateway.stats.submits == 1


async def test_a_page_replaces_the_response(serve: "Serve") -> None:
    """HTML is sent with the status of the rule; an empty body has no bytes."""
    service = await serve(faults=["models:html:nth=1", "models:html:status=413,nth=2", "any:empty"])
    for status in (200, 413):
        reply = await service.call("GET", MODELS)
        assert (reply.status, reply.headers["Content-Type"]) == (status, "text/html")
        assert reply.body.startswith(b"<!DOCTYPE html>")
    reply = await service.call("GET", MODELS)
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.5, "0.5"), (10, "10"), (100, "100"), (1_234_567, "1234567")]
)
async def test_retry_after_is_a_plain_number(serve: "Serve", seconds: float, header: str) -> None:
    """The header has digits only, without an exponent, however long the wait."""
    rule = FaultRule(on="models", fault="status", status=503, retry_after=seconds)
    reply = await (await serve(faults=[rule])).call("GET", "/v1/configs/llm_generations_models")
    assert reply.headers["Retry-After"] == header


@pytest.mark.parametrize("size", [None, 10])
async def test_a_truncated_response_announces_the_whole_length(
    serve: "Serve", size: int | None
) -> None:
    """A truncated body is shorter than its ``Content-Length``."""
    option = f":size={size}" if size else ""
    service = await serve(faults=[f"models:truncated{option}"])
    async with service.http.get(
        service.gateway.url + MODELS, headers={"Authorization": "Bearer x"}
    ) as response:
        announced = int(response.headers["Content-Length"])
        got = b""
        with pytest.raises(aiohttp.ClientPayloadError):
            while True:
                got += await response.content.readany()
    assert len(got) == (size or announced // 2) < announced


async def test_a_slow_response_is_sent_in_pieces(serve: "Serve") -> None:
    """A slow body is sent in pieces, with a delay before each, and is complete at the end."""
    clock = ManualClock()
    service = await serve(faults=["models:slow:seconds=5,size=100"], clock=clock)
    whole = await service.call("GET", "/v1/tasks/x")
    assert whole.status == 404
    asking = asyncio.create_task(service.call("GET", MODELS))
    waits = 0
    while not asking.done():
        if clock.timers:
            await clock.advance(5)
            waits += 1
        await asyncio.sleep(0)
    reply = await asking
    assert len(reply.json["data"]) == 8
    assert waits == -(-len(reply.body) // 100)


async def test_a_stall_ends_after_its_seconds(serve: "Serve") -> None:
    """A stalled response is sent unchanged after the seconds of the rule."""
    clock = ManualClock()
    service = await serve(faults=["submit:stall:seconds=60", "models:stall:late"], clock=clock)
    asking = asyncio.create_task(service.post(**HELLO))
    while not clock.timers:
        await asyncio.sleep(0)
    assert service.gateway.stats.tasks == 0
    await clock.advance(60)
    assert (await asking).status == 200


async def test_a_stall_does_not_delay_the_shutdown(serve: "Serve") -> None:
    """Responses and streams that stall without end finish when the gateway shuts down."""
    service = await serve(faults=["models:stall", "stream:stall:chunk=1"])
    task = await service.submit(stream=True)
    async with await service.open_stream(task["id"]):
        asking = asyncio.create_task(service.call("GET", MODELS))
        while service.gateway.stats.faults < 2:
            await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await service.gateway.__aexit__(None, None, None)
        assert (await asking).status == 200


async def test_a_completed_task_may_lack_its_results(
    serve: "Serve", store_settings: dict[str, Any]
) -> None:
    """A completed task has no results in its first polls, and has them afterwards (contract Q2)."""
    service = await serve(faults=["query:empty-result:polls=2"], **store_settings)
    task = await service.submit()
    seen = [await service.finished(task["id"])]
    seen += [await service.task(task["id"]) for _ in range(3)]
    assert [item["status"] for item in seen] == ["completed"] * 4
    assert [item["results"] is None for item in seen] == [True, True, False, False]
    assert service.gateway.stats.faults == 2


async def test_a_task_fails_with_the_code_of_its_rule(
    serve: "Serve", events: "Callable[[bytes], list[Any]]"
) -> None:
    """A task with a forced failure writes its chunks and fails with the code (contract §8.3)."""
    service = await serve(
        faults=["submit:fail:code=content_policy_violation,chunk=2,model=kimi-k2.6"]
    )
    failing = await service.submit("count 1 to 9", model="kimi-k2.6", stream=True)
    spared = await service.submit("count 1 to 9")
    error = (await service.finished(failing["id"]))["error"]
    assert (error["code"], error["type"]) == ("content_policy_violation", "task_error")
    names = [event.name for event in events((await service.stream(failing["id"])).body)]
    assert names[-1] == "error"
    assert names.count("chunk") >= 2
    assert (await service.finished(spared["id"]))["status"] == "completed"


async def test_a_forced_failure_survives_a_restart(serve: "Serve", tmp_path: Path) -> None:
    """A task with a forced failure fails in the next run of the gateway too, which has no rule."""
    data = tmp_path / "foxapi.db"
    first = await serve(data=data, queue_delay=3600, faults=["submit:fail:code=timeout"])
    task = await first.submit("count 1 to 9")
    await first.gateway.__aexit__(None, None, None)
    second = await serve(data=data)
    failed = await second.finished(task["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "timeout")


async def test_credits_stay_spent_over_a_restart(serve: "Serve", tmp_path: Path) -> None:
    """A key without credits has none in the next run on the same file either."""
    data = tmp_path / "foxapi.db"
    first = await serve(data=data, api_keys={"sk-poor": 2})
    assert [(await first.post("sk-poor", **HELLO)).status for _ in range(2)] == [200, 200]
    await first.gateway.__aexit__(None, None, None)
    assert b"sk-poor" not in await asyncio.to_thread(data.read_bytes)
    second = await serve(data=data, api_keys={"sk-poor": 3})
    assert [(await second.post("sk-poor", **HELLO)).status for _ in range(2)] == [200, 402]


async def read_until_cut(service: "Service", task_id: str, query: str = "") -> bytes:
    """Read a stream until its connection breaks, and return the bytes."""
    got = bytearray()
    async with await service.open_stream(task_id, query) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            while True:
                data = await response.content.readany()
                got += data
    return bytes(got)


async def test_a_stream_is_cut_before_its_chunk(
    serve: "Serve", store_settings: dict[str, Any], events: "Callable[[bytes], list[Any]]"
) -> None:
    """A cut stream has exactly the chunks before the cut, and can be resumed there."""
    service = await serve(faults=["stream:cut:chunk=2"], **store_settings)
    task = await service.submit("count 1 to 5", stream=True)
    await service.finished(task["id"])
    before = await read_until_cut(service, task["id"])
    after = (await service.stream(task["id"], "?offset=2")).body
    service.gateway.faults.clear()
    assert before + after == (await service.stream(task["id"])).body
    assert len(events(before)) == 2


async def test_each_connection_is_cut_after_its_chunks(
    serve: "Serve", events: "Callable[[bytes], list[Any]]"
) -> None:
    """With ``each`` every connection is cut after that many chunks, from any offset."""
    service = await serve(faults=["stream:cut:each=3"])
    task = await service.submit("count 1 to 9", stream=True)
    await service.finished(task["id"])
    for offset in (0, 1, 4):
        got = await read_until_cut(service, task["id"], f"?offset={offset}")
        assert len(events(got)) == 3


async def test_a_torn_stream_ends_inside_an_event(serve: "Serve") -> None:
    """A torn stream ends with half of the next event."""
    service = await serve(faults=["stream:torn:chunk=1"])
    task = await service.submit("count 1 to 5", stream=True)
    await service.finished(task["id"])
    whole, _, half = (await read_until_cut(service, task["id"])).partition(b"\n\n")
    assert whole.startswith(b"event: chunk\n")
    assert half.startswith(b"event: chunk\ndata: {")
    assert b"\n\n" not in half


async def test_a_stalled_stream_stops_before_its_chunk(serve: "Serve") -> None:
    """A stalled stream has sent the chunks before, and continues after its seconds."""
    clock = ManualClock()
    service = await serve(faults=["stream:stall:chunk=2,seconds=600"], clock=clock)
    task = await service.submit("count 1 to 3", stream=True)
    await service.finished(task["id"])
    async with await service.open_stream(task["id"]) as response:
        got = b""
        while got.count(b"\n\n") < 2:
            got += await response.content.readany()
        assert b"done" not in got
        while not clock.timers:
            await asyncio.sleep(0)
        await clock.advance(600)
        got += await response.read()
    assert got.count(b"event: chunk") > 2
    assert b"event: done" in got


async def test_the_last_event_may_be_missing_or_wrong(
    serve: "Serve", events: "Callable[[bytes], list[Any]]"
) -> None:
    """A stream may lack its last event or have a wrong count in it; its chunks are complete."""
    service = await serve(
        faults=["stream:no-done:nth=1", "stream:wrong-total:nth=2", "stream:wrong-total:total=1"]
    )
    task = await service.submit("count 1 to 3", stream=True)
    await service.finished(task["id"])
    first, second, third = [events((await service.stream(task["id"])).body) for _ in range(3)]
    assert {event.name for event in first} == {"chunk"}
    assert second[-1].data == {"total_chunks": len(first) + 1}
    assert third[-1].data == {"total_chunks": 1}
    assert first == second[:-1] == third[:-1]


async def test_an_offset_may_be_ignored(serve: "Serve") -> None:
    """A stream that ignores its offset is sent from the beginning (contract §15 row 9)."""
    service = await serve(faults=["stream:ignore-offset"])
    task = await service.submit("count 1 to 3", stream=True)
    whole = (await service.stream(task["id"])).body
    assert service.gateway.stats.faults == 0
    assert (await service.stream(task["id"], "?offset=2")).body == whole
    assert service.gateway.stats.faults == 1


async def test_unusual_framing_keeps_the_chunks(
    serve: "Serve", store_settings: dict[str, Any]
) -> None:
    """CR LF, comments and unknown events change the framing and no chunk."""
    service = await serve(**store_settings)
    task = await service.submit("count 1 to 3", stream=True)
    plain = (await service.stream(task["id"])).body
    service.gateway.faults.add("stream:crlf", "stream:comments", "stream:unknown-events")
    odd = (await service.stream(task["id"])).body
    assert b"\r\n" in odd
    assert odd.count(b": a comment\r\n") == odd.count(b"event: heartbeat") == plain.count(b"\n\n")

    def data(body: bytes) -> list[Any]:
        lines = body.replace(b"\r\n", b"\n").split(b"\n")
        found = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
        return [item for item in found if item != {"alive": True}]

    assert data(odd) == data(plain)


async def test_a_slow_stream_is_sent_in_pieces(serve: "Serve") -> None:
    """A slow stream is sent in pieces that end inside events, and has the same bytes."""
    service = await serve()
    task = await service.submit("count 1 to 3", stream=True)
    plain = (await service.stream(task["id"])).body
    service.gateway.faults.add("stream:slow:seconds=0,size=11")
    pieces: list[bytes] = []
    async with await service.open_stream(task["id"]) as response:
        async for piece, _ in response.content.iter_chunks():
            pieces.append(piece)
    assert b"".join(pieces) == plain
    assert len(pieces) > 1


async def test_a_task_or_stream_may_be_expired(serve: "Serve") -> None:
    """An expired stream or task is a 404 in the envelope."""
    service = await serve(faults=["stream:expired", "query:expired:nth=2"])
    task = await service.submit(stream=True)
    assert (await service.task(task["id"]))["id"] == task["id"]
    for path in (f"/v1/tasks/{task['id']}", f"{SUBMIT}/{task['id']}/stream"):
        reply = await service.call("GET", path)
        assert (reply.status, reply.json["error"]["type"]) == (404, "not_found")


async def test_a_rule_can_select_a_task_or_a_model(
    serve: "Serve", store_settings: dict[str, Any]
) -> None:
    """A rule for a task or a model does not act on others, in queries and streams too."""
    service = await serve(**store_settings)
    one = await service.submit(stream=True)
    other = await service.submit(model="gpt-5.4", stream=True)
    service.gateway.faults.add(f"any:502:task={one['id']}", "stream:504:model=gpt-5.4")
    assert (await service.call("GET", f"/v1/tasks/{one['id']}")).status == 502
    assert (await service.stream(one["id"])).status == 502
    assert (await service.call("GET", f"/v1/tasks/{other['id']}")).status == 200
    assert (await service.stream(other["id"])).status == 504
    assert (await service.call("GET", f"/v1/tasks/{other['id']}", key=None)).status == 401


async def test_cleared_rules_and_admin_routes_have_no_faults(service: "Service") -> None:
    """Cleared rules do nothing, and the admin endpoints never fail."""
    service.gateway.faults.add("any:500")
    for path in ("/healthz", "/_gateway/stats"):
        assert (await service.call("GET", path)).status == 200
    assert (await service.call("GET", MODELS)).status == 500
    service.gateway.faults.clear()
    assert service.gateway.faults.rules == ()
    assert (await service.call("GET", MODELS)).status == 200


async def test_an_invalid_rule_is_a_config_error() -> None:
    """A gateway with an invalid rule cannot be created."""
    with pytest.raises(Exception, match="did you mean 'reset'"):
        Gateway(faults=["submit:rest"])


@pytest.mark.parametrize(
    ("rule", "member", "expected"),
    [
        ("submit:member:member=status", "status", None),
        ("submit:member:member=stream,value=false", "stream", False),
        ('query:member:member=status,value="canceled"', "status", "canceled"),
        ("query:member:member=id", "id", None),
        ('query:member:member=error,value="out of luck"', "error", "out of luck"),
        ("query:member:member=unknown,value=[1]", "unknown", [1]),
        ("models:member:member=data,value=null", "data", None),
    ],
)
async def test_a_member_is_changed_or_removed(
    serve: "Serve", rule: str, member: str, expected: object
) -> None:
    """The response differs from the original in the member of the rule only, and only once."""
    service = await serve()
    created = (await service.post(**HELLO)).json
    await service.finished(created["id"])
    service.gateway.faults.add(f"{rule},times=1")
    if rule.startswith("submit"):
        odd, true = [(await service.post(**HELLO)).json for _ in range(2)]
        odd |= {"id": true["id"], "created": true["created"]}
    else:
        path = MODELS if rule.startswith("models") else f"/v1/tasks/{created['id']}"
        odd, true = [(await service.call("GET", path)).json for _ in range(2)]
    assert odd.get(member) == expected
    assert (member in odd) == ("value" in rule)
    for answer in (odd, true):
        answer.pop(member, None)
    assert odd == true


@pytest.mark.parametrize("text", ["query:member", "query:member:member=id,value=canceled"])
def test_a_member_needs_a_name_and_json(text: str) -> None:
    """A rule without a member, or with a value that is not JSON, is an error with the fix."""
    with pytest.raises(ConfigError, match=r"member needs the name|value must be JSON"):
        FaultRule.of(text)
