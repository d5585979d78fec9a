"""Hostile requests: each is refused or fails alone, and the gateway stays up."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async._catalog import check
from foxapi_async._clock import ManualClock
from foxapi_async._wire.request import GenerationRequest, Message, request_decoder
from foxapi_async._wire.task import Status
from foxapi_async.gateway.models.schema_merge import UnsatisfiableError
from foxapi_async.gateway.models.schema_values import generate
from foxapi_async.gateway.request_validation import MAX_DEPTH, MAX_VALUES
from foxapi_async.gateway.response_structs import UnifiedTask
from foxapi_async.gateway.store import SqlStore, UnstorableError
from tests.gateway.data_files import change_chunks

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

SUBMIT = "/v1/llm/generations"
REQUEST = GenerationRequest(model="gpt-5.5", messages=(Message(role="user", content="hi"),))
JSON = {"Content-Type": "application/json"}


def doubling(keyword: str, last: Any, times: int = 30) -> dict[str, Any]:
    """Return a schema of 2 kB that refers to its last part 2 ** ``times`` times."""
    parts = {
        f"d{number}": {keyword: [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(times)
    }
    return {"$ref": "#/$defs/d0", "$defs": parts | {f"d{times}": last}}


def branching(times: int = 30) -> dict[str, Any]:
    """Return a schema of objects, each of which has two of the next."""
    parts = {
        f"d{number}": {
            "properties": {name: {"$ref": f"#/$defs/d{number + 1}"} for name in "ab"},
            "required": ["a", "b"],
        }
        for number in range(times)
    }
    return {"$ref": "#/$defs/d0", "$defs": parts | {f"d{times}": True}}


def numbered(first: int) -> dict[str, Any]:
    """Return thirty options."""
    return {"anyOf": [{"minLength": number} for number in range(first, first + 30)]}


POISON: dict[str, dict[str, Any]] = {
    "allOf doubled": doubling("allOf", last={"type": "string"}),
    "anyOf doubled": doubling("anyOf", last=False),
    "members doubled": branching(),
    "options multiplied": {"allOf": [numbered(first) for first in range(30)]},
    "enumerations compared": {
        "allOf": [{"enum": list(range(9000))}, {"enum": [*range(9999, 0, -1)]}]
    },
    "constants compared": {
        "allOf": [{"const": [[n] for n in range(9000)]}, {"const": [[n] for n in range(9000)]}] * 99
    },
    "wide items": {"minItems": 4000, "items": {f"x{number}": 1 for number in range(9000)}},
    "a long constant repeated": {"minItems": 4000, "items": {"const": "x" * 9000}},
    "long texts": {"minItems": 4000, "items": {"type": "string", "minLength": 90_000}},
    "long names": {"minItems": 4000, "items": {"required": ["x" * 9000]}},
    "many required": {"required": [f"x{number}" for number in range(50_000)]},
}


async def send(service: "Service", body: bytes) -> tuple[int, Any]:
    """Submit a body and return the status and the answer."""
    reply = await service.call("POST", SUBMIT, data=BytesIO(body), headers=JSON)
    return reply.status, reply.json


@pytest.mark.parametrize("name", POISON)
def test_a_schema_has_a_budget(name: str) -> None:
    """A schema whose value would take work or text without bounds has none."""
    with pytest.raises(UnsatisfiableError, match="asks for too much"):
        generate(POISON[name])


async def test_a_costly_schema_fails_its_own_task(serve: "Serve", tmp_path: Path) -> None:
    """A task whose schema exceeds the budget fails; other tasks and a restart are not affected."""
    service = await serve(data=tmp_path / "fox.db", queue_delay=60, clock=ManualClock())
    wanted = {"type": "json_schema", "json_schema": {"schema": POISON["allOf doubled"]}}
    bad = [await service.submit(response_format=wanted, n=9, stream=True) for _ in range(3)]
    good = await service.submit()
    await service.gateway.__aexit__(None, None, None)
    service = await serve(data=tmp_path / "fox.db")
    for task in bad:
        ended = await service.finished(task["id"])
        assert (ended["status"], ended["error"]["code"]) == ("failed", "generation_failed")
        assert "too much" in ended["error"]["message"]
    assert (await service.finished(good["id"]))["status"] == "completed"


async def test_many_choices_of_a_long_value_fail(service: "Service") -> None:
    """All choices of an answer together are bounded as well, and so is the name of a function."""
    schema = {"minItems": 400, "items": {"const": "a b " * 50}}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    one = await service.submit(response_format=wanted)
    assert (await service.finished(one["id"]))["status"] == "completed"
    many = await service.submit(response_format=wanted, n=128)
    assert "too long" in (await service.finished(many["id"]))["error"]["message"]
    tool = {"type": "function", "function": {"name": "x" * 1000}}
    named = await service.submit(tools=[tool], tool_choice="required")
    assert "name of a function" in (await service.finished(named["id"]))["error"]["message"]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("shape", ["[", '{"a":'])
@pytest.mark.parametrize("place", ["odd", "messages", "metadata"])
async def test_depth_is_bounded_at_the_door(
    serve: "Serve", tmp_path: Path, shape: str, place: str, *, kept: bool
) -> None:
    """A body nested too deeply is refused with 400, wherever; one at the bound is accepted."""
    service = await serve(**({"data": tmp_path / "fox.db"} if kept else {}))

    def body(levels: int) -> bytes:
        close = "]" if shape == "[" else "}"
        deep = f"{shape * levels}1{close * levels}"
        hello = '"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]'
        return f'{{{hello}, "{place}": {deep}}}'.encode()

    for levels in (MAX_DEPTH, 600, 100_000):
        status, answer = await send(service, body(levels))
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert "levels deep" in answer["error"]["message"]
    status, answer = await send(service, body(MAX_DEPTH - 1))
    assert status == (200 if place == "odd" else 422)
    if status == 200:
        assert (await service.finished(answer["id"]))["status"] == "completed"
    reply = await service.call(
        "POST", "/_gateway/faults", data=b"[" * 600 + b"]" * 600, headers=JSON
    )
    assert (reply.status, service.gateway.stats.tasks) == (400, int(status == 200))


async def test_the_number_of_values_is_bounded_at_the_door(service: "Service") -> None:
    """A body of small values without end is refused with 400; text of any length is not."""
    status, answer = await send(service, b'{"odd": [%b 0]}' % (b"0," * MAX_VALUES))
    assert (status, "values" in answer["error"]["message"]) == (400, True)
    hello = [{"role": "user", "content": "[{,]} " * MAX_VALUES}]
    status, _ = await send(service, json.dumps({"model": "gpt-5.5", "messages": hello}).encode())
    assert status == 200


async def test_a_value_that_no_row_holds_fails_its_task_alone(tmp_path: Path) -> None:
    """Of the tasks in one transaction, only one with a value that no row can hold is refused."""
    store = SqlStore(tmp_path / "fox.db", ManualClock(), retention=900, task_retention=900)
    await store.open()

    def add(task_id: str, owner: str) -> Any:
        return store.add(UnifiedTask(id=task_id, status=Status.PENDING), REQUEST, owner)

    added = await asyncio.gather(
        *(add(name, "\ud800" if name == "c" else "ann") for name in "abcde"),
        return_exceptions=True,
    )
    assert [type(item) for item in added] == [bool, bool, UnstorableError, bool, bool]
    await store.aclose()
    store = SqlStore(tmp_path / "fox.db", ManualClock(), retention=900, task_retention=900)
    found = await store.open()
    assert [item.task.id for item in found.unfinished] == ["a", "b", "d", "e"]
    await store.aclose()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE task SET answer = 'no JSON' WHERE id = :id",
        'UPDATE task SET answer = \'{"id": "another", "status": "pending"}\' WHERE id = :id',
        "UPDATE task SET answer = X'FF00FF' WHERE id = :id",
        "UPDATE task SET request = NULL WHERE id = :id",
        "UPDATE task SET request = X'FF' WHERE id = :id",
        "UPDATE batch SET chunks = 'a text'",
        "UPDATE batch SET chunks = 7",
        "UPDATE batch SET chunks = X'FF'",
        lambda chunk: [*chunk[:3], "a text"],
        lambda chunk: [*chunk[:3], 7],
        lambda chunk: [*chunk[:2], "much", chunk[3]],
        lambda chunk: [chunk[0], chunk[1] + 1, *chunk[2:]],
        lambda chunk: chunk[:3],
    ],
)
async def test_a_row_that_cannot_be_read_fails_its_task_alone(
    serve: "Serve", tmp_path: Path, damage: str | Callable[[list[Any]], list[Any]]
) -> None:
    """A gateway starts whatever a row says: that task fails, its stream ends, the others go on."""
    data, clock = tmp_path / "fox.db", ManualClock()
    service = await serve(data=data, clock=clock, token_delay=1)
    bad = await service.submit("count 1 to 900", stream=True)
    while service.gateway.stats.chunks < 2:
        await clock.advance(1)
        await asyncio.sleep(0)
    good = await service.submit()
    await service.gateway.__aexit__(None, None, None)

    def corrupt() -> None:
        if not isinstance(damage, str):
            change_chunks(data, damage)
            return
        with closing(sqlite3.connect(data)) as connection, connection:
            assert connection.execute(damage, {"id": bad["id"]}).rowcount

    await asyncio.to_thread(corrupt)
    service = await serve(data=data)
    ended = await service.finished(bad["id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "service_restarted")
    stream = await service.stream(bad["id"])
    assert (stream.status, b"event: error" in stream.body) == (200, True)
    assert (await service.finished(good["id"]))["status"] == "completed"


async def test_many_unknown_members_cost_little(
    service: "Service", caplog: pytest.LogCaptureFixture
) -> None:
    """Any number of likely typos is accepted; ten are logged and few are compared."""
    odd = {f"contens{number}": 1 for number in range(5000)}
    hello = {"role": "user", "content": "hi"}
    reply = await service.post(model="gpt-5.5", messages=[hello | odd])
    assert (reply.status, len(caplog.records)) == (200, 10)
    found = check(
        request_decoder.decode(json.dumps({"model": "x", "messages": [odd | hello]}).encode())
    )
    warnings = [violation for violation in found if violation.level == "warning"]
    assert len(warnings) == 5000
    assert 0 < sum("did you mean" in violation.message for violation in warnings) <= 100


async def test_the_first_of_many_mistakes_is_reported(service: "Service") -> None:
    """A request with many mistakes is refused for the first one."""
    messages = [{"role": f"usr{number}", "content": "hi"} for number in range(20_000)]
    reply = await service.post(model="gpt-5.5", messages=messages)
    assert (reply.status, reply.json["error"]["param"]) == (422, "messages[0].role")
    reply = await service.post(model="gpt-5.5", messages=messages[:0], stop=["x"])
    assert (reply.status, reply.json["error"]["param"]) == (422, "messages")


async def test_stops_are_bounded(service: "Service") -> None:
    """Each stop sequence is searched in each choice, so their number is limited."""
    hello = [{"role": "user", "content": "hi"}]
    for number, status in ((64, 200), (65, 422)):
        reply = await service.post(model="gpt-5.5", messages=hello, stop=["x"] * number)
        assert reply.status == status
    assert reply.json["error"]["param"] == "stop"


async def test_a_long_prompt_is_read_to_its_limit(service: "Service") -> None:
    """The answer does not depend on the prompt after its first 100,000 characters."""
    prompts = ["count 1 to 3" + " " * 100_000 + rest for rest in ("", "x", "[[fail:timeout]]")]
    answers = set()
    for prompt in prompts:
        task = await service.submit(prompt, n=3)
        ended = await service.finished(task["id"])
        answers.add(str([choice["message"] for choice in ended["results"][0]["choices"]]))
    assert len(answers) == 1
