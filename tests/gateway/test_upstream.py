"""Models of an upstream: what the gateway asks, and what it makes of the responses."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async import FoxSession
from foxapi_async._catalog import MODELS
from foxapi_async._clock import LoopClock, ManualClock, settle
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async.errors import ConfigError
from foxapi_async.gateway import Gateway, Upstream
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.models import ModelRegistry
from foxapi_async.gateway.models.upstream import UpstreamModel, answer_reader
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import GatewayStats, UpstreamStats
from foxapi_async.gateway.store import make_store
from tests.gateway.scripted_upstream import (
    ANSWER,
    DONE,
    STREAM_HEAD,
    USAGE,
    StartUpstream,
    ask,
    chunk,
    event,
    message,
    responds,
    response,
    sends,
    settings,
)

if TYPE_CHECKING:
    from tests.gateway.conftest import Event, Serve, Service

WRONG_BYTES = b'\xff"'
SECRET = "sk-9Qd2-0123456789abcdef"


def error(message: str, code: Any = None) -> bytes:
    """Encode an error as OpenAI does."""
    return json.dumps({"error": {"message": message, "code": code}}).encode()


def in_json(body: bytes) -> bytes:
    """Encode a success that is no stream."""
    return response(200, body, Content_Type="application/json")


async def ask_often(service: "Service", count: int) -> list[Any]:
    """Submit so many requests and return the tasks in their order when all have ended."""
    ids = [(await service.submit())["id"] for _ in range(count)]
    while service.gateway.stats.completed + service.gateway.stats.failed < count:
        await asyncio.sleep(0)
    return [await service.task(task_id) for task_id in ids]


def texts(events: "list[Event]", member: str = "content") -> list[Any]:
    """Return the pieces of a stream."""
    deltas = [choice["delta"] for item in events[:-1] for choice in item.data["choices"]]
    return [delta[member] for delta in deltas if member in delta]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_an_upstream_is_stored_and_streamed(
    serve: "Serve",
    upstream: StartUpstream,
    events: Callable[[bytes], "list[Event]"],
    *,
    stream: bool,
) -> None:
    """The upstream is always asked for a stream; the ids and the model are those of the gateway."""
    server = await upstream(sends(*ANSWER[:-1], event({"choices": [], "usage": USAGE}), DONE))
    service = await serve(upstreams=settings(server))
    task = await service.submit(stream=stream, temperature=0.5, foo={"bar": 1})
    ended = await service.finished(task["id"])
    assert message(ended) == {"role": "assistant", "content": "Hello world"}
    completion = ended["results"][0]
    assert (completion["model"], completion["usage"]) == ("gpt-5.5", USAGE)
    assert completion["id"].removeprefix("chatcmpl-") == task["id"].removeprefix("task-llm-")
    (asked,) = server.requests
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {
        "model": "qwen3:8b",
        "messages": [{"role": "user", "content": "count 1 to 3"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "foo": {"bar": 1},
    }
    assert "authorization" not in asked.headers
    if stream:
        found = events((await service.stream(task["id"])).body)
        assert texts(found) == ["Hello", " world"]
        assert {item.data["model"] for item in found[:-1]} == {"gpt-5.5"}
        assert {item.data["id"] for item in found[:-1]} == {completion["id"]}
        assert found[-1].data == {"total_chunks": 3}
        # The client did not ask for the usage.
        assert not any("usage" in item.data for item in found)


async def test_chunks_are_in_the_log_while_the_upstream_writes(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """A chunk is delivered before the next one exists, and the progress moves."""
    received = asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number
        writer.write(STREAM_HEAD + chunk("Hel"))
        await received.wait()
        writer.write(b"".join((chunk("lo"), chunk(finish="stop"), DONE)))

    server = await upstream(script)
    service = await serve(upstreams=settings(server))
    task = await service.submit(stream=True, max_tokens=16)
    stream = await service.open_stream(task["id"])
    assert b'"Hel"' in await stream.content.readuntil(b"\n\n")
    running = await service.task(task["id"])
    assert (running["status"], running["progress"]) == ("processing", 6)
    received.set()
    assert b"event: done" in await stream.read()
    stats = service.gateway.stats.as_dict()["upstreams"][0]
    assert (stats["requests"], stats["answers"], stats["chunks"]) == (1, 1, 3)
    assert stats["first_chunk"] > 0
    assert stats["pace"] > 0
    assert (stats["waiting"], stats["running"], stats["retries"]) == (0, 0, 0)


async def test_usage_is_a_chunk_of_its_own_if_it_is_asked_for(
    serve: "Serve", upstream: StartUpstream, events: Callable[[bytes], "list[Event]"]
) -> None:
    """Usage on the upstream's last chunk comes in a chunk without choices."""
    server = await upstream(sends(chunk("Hi"), chunk(finish="stop", usage=USAGE), DONE))
    service = await serve(upstreams=settings(server))
    task = await service.submit(stream=True, stream_options={"include_usage": True})
    found = events((await service.stream(task["id"])).body)
    assert found[-2].data["choices"] == []
    assert found[-2].data["usage"] == USAGE
    assert found[-1].data == {"total_chunks": 3}


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {"prompt_tokens": -1, "completion_tokens": 4, "total_tokens": 3},
        {"prompt_tokens": "many", "completion_tokens": 4, "total_tokens": 7},
        {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 5},
        {"prompt_tokens": 10**30, "completion_tokens": 4, "total_tokens": 10**30},
        {"tokens": 7},
        "7",
        [],
    ],
)
async def test_usage_that_cannot_be_true_is_unknown(
    serve: "Serve", upstream: StartUpstream, usage: Any
) -> None:
    """An answer without plausible usage is stored with null, not with a number."""
    server = await upstream(sends(*ANSWER[:2], chunk(finish="stop", usage=usage), DONE))
    service = await serve(upstreams=settings(server))
    task = await ask(service, stream=True, stream_options={"include_usage": True})
    assert task["results"][0]["usage"] is None


async def test_the_quirks_of_real_servers_change_nothing(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """Null content first, usage without choices, unknown members, a broken keep-alive: all fine."""
    head = STREAM_HEAD.replace(b"Connection: close", b"Connection: Keep-Alive")
    server = await upstream(
        sends(
            chunk(delta={"role": "assistant", "content": None}, timings={"predicted_ms": 1.5}),
            b": OPENROUTER PROCESSING\n\n",
            event({"choices": [], "prompt_filter_results": [{"index": 0}]}),
            event({"choices": None, "error": None}),
            chunk("Hello", logits=[1, 2], system_fingerprint="b1"),
            b"event: ping\ndata:\n\n",
            chunk(delta={"role": "assistant", "content": " world", "extra": 1}),
            chunk(delta={"content": None, "tool_calls": None}, finish="stop", timings={}),
            event({"choices": [], "usage": USAGE, "timings": {"prompt_ms": 2}}),
            DONE,
            head=head,
        )
    )
    service = await serve(upstreams=settings(server))
    for _ in range(5):
        task = await ask(service, stream=True)
        assert message(task) == {"role": "assistant", "content": "Hello world"}
        assert task["results"][0]["usage"] == USAGE
    assert len(server.requests) == 5


async def test_prose_for_a_required_tool_is_the_answer(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """A server that ignores `tool_choice` is not corrected: its words are the answer."""
    server = await upstream(sends(*ANSWER))
    service = await serve(upstreams=settings(server))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    task = await ask(service, tools=[tool], tool_choice="required")
    assert message(task) == {"role": "assistant", "content": "Hello world"}
    assert server.requests[0].body["tool_choice"] == "required"
    assert server.requests[0].body["tools"] == [tool]


async def test_tool_calls_pass_through(
    serve: "Serve", upstream: StartUpstream, events: Callable[[bytes], "list[Event]"]
) -> None:
    """The pieces of tool calls are streamed with indexes, and stored as whole calls."""

    def call(**members: Any) -> bytes:
        return chunk(delta={"tool_calls": [members]})

    server = await upstream(
        sends(
            call(id="a", type="function", function={"name": "f", "arguments": ""}),
            call(function={"arguments": '{"x":'}),
            call(function={"arguments": "1}"}),
            call(id="b", type="function", function={"name": "g", "arguments": "{}"}),
            chunk(finish="tool_calls"),
            DONE,
        )
    )
    service = await serve(upstreams=settings(server))
    task = await service.submit(stream=True)
    found = events((await service.stream(task["id"])).body)
    pieces = [piece for calls in texts(found, "tool_calls") for piece in calls]
    assert [piece["index"] for piece in pieces] == [0, 0, 0, 1]
    stored = message(await service.finished(task["id"]))
    assert stored["content"] is None
    assert [(item["id"], item["function"]) for item in stored["tool_calls"]] == [
        ("a", {"name": "f", "arguments": '{"x":1}'}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


async def test_several_choices_are_kept_apart(serve: "Serve", upstream: StartUpstream) -> None:
    """Each choice of `n` has its own text, reasoning and finish reason."""
    server = await upstream(
        sends(
            chunk("<thi", index=1),
            chunk("A", index=0),
            chunk("nk>why</think>", index=1),
            chunk(finish="stop", index=0),
            chunk("B", finish="length", index=1),
            DONE,
        )
    )
    service = await serve(upstreams=settings(server))
    task = await ask(service, model="plain", n=2)
    assert [
        (choice["index"], choice["message"]["content"], choice["finish_reason"])
        for choice in task["results"][0]["choices"]
    ] == [(0, "A", "stop"), (1, "B", "length")]
    assert task["results"][0]["choices"][1]["message"]["reasoning_content"] == "why"


@pytest.mark.parametrize("spelling", ["reasoning_content", "reasoning", "<think>"])
@pytest.mark.parametrize("model", ["kimi-k2.6", "plain"])
async def test_reasoning_has_one_name_and_follows_the_model(
    serve: "Serve",
    upstream: StartUpstream,
    events: Callable[[bytes], "list[Event]"],
    spelling: str,
    model: str,
) -> None:
    """Each spelling is streamed as `reasoning_content`; a thinking model stores none (Q1)."""
    if spelling == "<think>":
        parts = ["<th", "ink>\nfirst ", "second</t", "hink>", "\n\n", "Hello"]
        script = sends(*map(chunk, parts), chunk(finish="stop"), DONE)
    else:
        parts = ["first ", "second"]
        thoughts = [chunk(delta={"content": None, spelling: part}) for part in parts]
        script = sends(*thoughts, chunk("Hello"), chunk(finish="stop"), DONE)
    server = await upstream(script)
    service = await serve(upstreams=settings(server, models=[model]))
    task = await service.submit(model=model, stream=True)
    found = events((await service.stream(task["id"])).body)
    assert "".join(texts(found, "reasoning_content")) == "first second"
    assert texts(found) == ["Hello"]
    stored = message(await service.finished(task["id"]))
    assert stored.get("reasoning_content") == (None if model in MODELS else "first second")
    assert stored["content"] == "Hello"


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [DONE],
        [chunk("Hel"), DONE],
        [chunk("Hel")],
        [chunk("Hel"), b"data: {"],
        [chunk("A"), chunk("B", index=1), chunk(finish="stop"), DONE],
        [chunk("A"), chunk(finish="")],
    ],
    ids=["empty", "done", "done-early", "cut", "cut-in-chunk", "one-of-two", "blank-reason"],
)
@pytest.mark.parametrize("framing", ["close", "chunked"])
async def test_an_answer_without_finish_reason_fails(
    serve: "Serve",
    upstream: StartUpstream,
    events: Callable[[bytes], "list[Event]"],
    parts: list[bytes],
    framing: str,
) -> None:
    """A stream that is cut, or that says `[DONE]` for an interrupted answer, ends with an error."""
    if framing == "chunked":
        head = STREAM_HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked")
        parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
        server = await upstream(sends(*parts, head=head))
    else:
        server = await upstream(sends(*parts))
    service = await serve(upstreams=settings(server))
    task = await service.submit(stream=True)
    found = events((await service.stream(task["id"])).body)
    assert found[-1].name == "error"
    ended = await service.finished(task["id"])
    assert (ended["status"], ended["results"]) == ("failed", None)
    assert ended["error"]["code"] == "service_unavailable"
    assert "without a finish reason" in ended["error"]["message"]
    assert len(server.requests) == 1


async def test_wherever_a_stream_is_cut_no_part_is_an_answer(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """Cut at each byte, the answer is whole or the task fails; a part is never stored."""
    stream = b"".join((chunk("Hel"), chunk("lo", finish="stop"), event({"choices": []}), DONE))
    whole = stream.index(b"\n\n", stream.index(b"stop"))

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + stream[: number - 1])

    server = await upstream(script)
    service = await serve(upstreams=settings(server, concurrency=1))
    for length, task in enumerate(await ask_often(service, len(stream) + 1)):
        if length >= whole:
            assert message(task)["content"] == "Hello"
        else:
            assert task["error"]["code"] == "service_unavailable"


async def test_no_wrong_byte_crashes_a_model(serve: "Serve", upstream: StartUpstream) -> None:
    """With any one byte replaced, the task ends with an answer or a code of an upstream."""
    function = {"name": "f", "arguments": "{}"}
    call = chunk(delta={"tool_calls": [{"index": 0, "id": "a", "function": function}]})
    usage = {**USAGE, "prompt_tokens_details": {"a": "b"}}
    choice = {"index": 0, "delta": {"content": "x"}, "logprobs": {"a": 1}, "finish_reason": "stop"}
    stream = call + event({"choices": [choice], "usage": usage}) + DONE

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        place, wrong = number - 1, WRONG_BYTES[number % 2 :][:1]
        writer.write(STREAM_HEAD + stream[:place] + wrong + stream[place + 1 :])

    server = await upstream(script)
    service = await serve(upstreams=settings(server, timeout=5))
    for task in await ask_often(service, len(stream)):
        assert task["status"] == "completed" or task["error"]["code"] == "service_unavailable"
    assert len(server.requests) == len(stream)


async def test_a_request_that_interrupts_another_ends_it_by_a_code(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """A server that drops its running answer for a new request fails that task, and no other."""
    interrupted, begun = asyncio.Event(), asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk("Hel"))
        if number == 1:
            begun.set()
            await interrupted.wait()
        else:
            interrupted.set()
            writer.write(chunk("lo", finish="stop"))
        writer.write(DONE)

    server = await upstream(script)
    service = await serve(upstreams=settings(server, concurrency=2))
    first = await service.submit()
    await begun.wait()
    second = await service.submit()
    assert (await service.finished(first["id"]))["error"]["code"] == "service_unavailable"
    assert message(await service.finished(second["id"]))["content"] == "Hello"


@pytest.mark.parametrize(
    ("parts", "usage"),
    [
        # OpenAI: one usage of all choices.
        ([event({"choices": [], "usage": USAGE})], USAGE),
        ([event({"choices": [], "usage": USAGE})] * 2, [3, 8, 11]),
        # vLLM: the usage so far of a choice with each chunk, and that of all choices in the end.
        (
            [
                chunk("!", index=1, usage={**USAGE, "completion_tokens": 5, "total_tokens": 8}),
                event({"choices": [], "usage": USAGE}),
            ],
            USAGE,
        ),
        (
            [
                chunk("a", index=0, usage={**USAGE, "completion_tokens": 1, "total_tokens": 4}),
                chunk("b", index=0, usage=USAGE),
                chunk("c", index=1, usage={**USAGE, "completion_tokens": 5, "total_tokens": 8}),
            ],
            [3, 9, 12],
        ),
        # These may be of one choice or of both.
        ([chunk("!", index=1, usage=USAGE)], None),
        ([event({"choices": [], "usage": USAGE})] * 3, None),
        (
            [
                event({"choices": [], "usage": USAGE}),
                event({"choices": [], "usage": {**USAGE, "prompt_tokens": 2}}),
            ],
            None,
        ),
    ],
)
async def test_the_usage_is_that_of_all_choices(
    serve: "Serve", upstream: StartUpstream, parts: list[bytes], usage: Any
) -> None:
    """Usages of single choices are added, with one prompt; an ambiguous usage is null."""
    ends = [chunk("x", finish="stop", index=index) for index in range(2)]
    server = await upstream(sends(*parts, *ends, DONE))
    service = await serve(upstreams=settings(server))
    stored = (await ask(service, n=2))["results"][0]["usage"]
    assert stored == (dict(zip(USAGE, usage, strict=True)) if isinstance(usage, list) else usage)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_a_last_event_without_its_blank_line_counts(
    serve: "Serve", upstream: StartUpstream, end: bytes
) -> None:
    """A server that closes right after a whole event has finished its answer."""
    last = chunk(" world", finish="stop", usage=USAGE).rstrip() + end
    server = await upstream(sends(chunk("Hello"), last))
    service = await serve(upstreams=settings(server))
    task = await ask(service)
    assert message(task)["content"] == "Hello world"
    assert task["results"][0]["usage"] == USAGE


@pytest.mark.parametrize("parts", [ANSWER[:-1], [*ANSWER[:-1], event({"choices": []})]])
async def test_an_answer_without_done_is_whole(
    serve: "Serve", upstream: StartUpstream, parts: list[bytes]
) -> None:
    """A finish reason proves the answer even if the server never says `[DONE]`."""
    server = await upstream(sends(*parts))
    service = await serve(upstreams=settings(server))
    assert message(await ask(service))["content"] == "Hello world"


async def test_a_server_that_never_closes_does_not_hold_the_answer(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """After the finish reason the gateway waits shortly for the usage, and not for the end."""
    release = asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number
        writer.write(STREAM_HEAD + b"".join(ANSWER[:-1]))
        await release.wait()

    server = await upstream(script)
    service = await serve(upstreams=settings(server, timeout=0.05))
    assert message(await ask(service))["content"] == "Hello world"
    release.set()


async def test_a_choice_may_begin_long_after_another_has_ended(
    serve: "Serve", upstream: StartUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short wait after the finish reason begins when all choices have one."""
    monkeypatch.setattr(answer_reader, "_TAIL_TIMEOUT", 0)
    release = asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number
        writer.write(STREAM_HEAD + chunk("A", finish="stop"))
        await release.wait()
        writer.write(chunk("B", finish="stop", index=1) + DONE)

    server = await upstream(script)
    service = await serve(upstreams=settings(server))
    task = await service.submit(n=2, stream=True)
    stream = await service.open_stream(task["id"])
    assert b'"A"' in await stream.content.readuntil(b"\n\n")
    assert (await service.task(task["id"]))["status"] == "processing"
    release.set()
    assert b"event: done" in await stream.read()


@pytest.mark.parametrize("before", [b"", STREAM_HEAD, STREAM_HEAD + chunk("Hel")])
async def test_a_silent_upstream_times_out(
    serve: "Serve", upstream: StartUpstream, before: bytes
) -> None:
    """A task whose upstream is silent for too long fails with `timeout`, and frees the slot."""
    release = asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(before)
            await release.wait()
        else:
            writer.write(STREAM_HEAD + b"".join(ANSWER))

    server = await upstream(script)
    service = await serve(upstreams=settings(server, timeout=0.05, concurrency=1))
    task = await ask(service)
    assert task["error"]["code"] == "timeout"
    assert "0.05 seconds" in task["error"]["message"]
    assert message(await ask(service))["content"] == "Hello world"
    release.set()


@pytest.mark.parametrize(
    "part",
    [
        event({"error": {"code": 500, "message": "out of slots", "type": "server_error"}}),
        event({"error": "out of slots"}),
        event({"error": {"message": "out of slots"}, "choices": []}),
        b'event: error\ndata: {"message": "out of slots"}\n\n',
        event({"object": "error", "message": "out of slots", "code": 40303}),
    ],
)
async def test_an_error_in_the_stream_fails_the_task_in_its_words(
    serve: "Serve", upstream: StartUpstream, part: bytes
) -> None:
    """Errors in place of chunks, numeric codes included, end the task with the upstream's words."""
    server = await upstream(sends(chunk("Hel"), part, *ANSWER))
    service = await serve(upstreams=settings(server))
    task = await ask(service)
    assert task["error"]["code"] == "service_unavailable"
    assert "out of slots" in task["error"]["message"]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: nonsense\n\n",
        b"data: 5\n\n",
        b"data: null\n\n",
        b"data: []\n\n",
        b"data: \x80\xff\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: " + b"x" * 5_000_000,
        chunk("x", finish="error"),
        b"".join(chunk("x", index=number) for number in range(200)),
    ],
    ids=["text", "number", "null", "list", "bytes", "deep", "long", "error", "choices"],
)
async def test_garbage_fails_the_task(
    serve: "Serve", upstream: StartUpstream, garbage: bytes
) -> None:
    """What is no chunk ends the task with a code; it neither crashes nor hangs the gateway."""
    server = await upstream(sends(chunk("Hel"), garbage, *ANSWER))
    service = await serve(upstreams=settings(server))
    task = await ask(service, stream=True)
    assert task["error"]["code"] == "service_unavailable", task


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (response(400, error("bad seed")), "generation_failed", "bad seed"),
        (response(422, b'{"detail":[{"loc":["n"],"msg":"big"}]}'), "generation_failed", "big"),
        (response(401, error("no key")), "model_unavailable", "no key"),
        (response(402, error("pay")), "model_unavailable", "pay"),
        (response(403, error("your region")), "model_unavailable", "region"),
        (response(403, error("moderation")), "content_policy_violation", "moderation"),
        (response(400, error("x", "content_filter")), "content_policy_violation", "x"),
        (response(404, b'{"error":"model not found"}'), "model_unavailable", "not found"),
        (response(408), "timeout", "408"),
        (response(504, b"<html>nginx</html>"), "timeout", "504"),
        (response(500, b"out of memory"), "service_unavailable", "out of memory"),
        (response(529), "service_unavailable", "529"),
        (response(307, Location="http://127.0.0.1:9"), "model_unavailable", "redirects"),
        (in_json(error("in JSON")), "service_unavailable", "in JSON"),
        (in_json(b'{"choices":[]}'), "service_unavailable", "in place of an event stream"),
        (in_json(b"{"), "service_unavailable", "in place of an event stream"),
        (response(429, error("slow down")), "service_unavailable", "slow down"),
        (response(503, error("Loading model", 503)), "service_unavailable", "Loading model"),
        (b"garbage\r\n\r\n", "service_unavailable", "not sent again"),
        (b"\x15\x03\x01\x00\x02\x02F", "model_unavailable", "must begin with https://"),
        (b"", "service_unavailable", "not sent again"),
    ],
)
async def test_a_refusal_becomes_a_code_of_the_service(
    serve: "Serve", upstream: StartUpstream, answer: bytes, code: str, words: str
) -> None:
    """A task fails with a code of contract §8.3 and the words of the upstream, asked once."""
    server = await upstream(responds(answer))
    service = await serve(upstreams=settings(server))
    task = await ask(service)
    assert (task["status"], task["error"]["code"]) == ("failed", code), task
    assert words in task["error"]["message"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_upstream_is_waited_out(
    serve: "Serve", upstream: StartUpstream, status: int
) -> None:
    """The task waits for `Retry-After`, asks again, and succeeds; other tasks wait with it."""
    clock = ManualClock()
    server = await upstream(
        responds(
            response(status, Retry_After="30"),
            response(status, retry_after_ms="10000"),
            STREAM_HEAD + b"".join(ANSWER),
        )
    )
    service = await serve(clock=clock, upstreams=settings(server, patience=60, concurrency=2))
    task = await service.submit()
    while service.gateway.stats.upstreams[0].retries < 1:
        await asyncio.sleep(0)
    other = await service.submit()
    while service.gateway.stats.upstreams[0].running < 2:
        await asyncio.sleep(0)
    await clock.advance(29)
    assert len(server.requests) == 1
    await clock.advance(1)
    while service.gateway.stats.upstreams[0].retries < 2:
        await clock.advance(1)
    while (await service.task(task["id"]))["status"] != "completed":
        await clock.advance(1)
    while (await service.task(other["id"]))["status"] != "completed":
        await clock.advance(1)


async def test_patience_has_an_end(serve: "Serve", upstream: StartUpstream) -> None:
    """A `Retry-After` beyond the patience fails the task at once; backoff fails it at the end."""
    clock = ManualClock()
    server = await upstream(
        responds(response(429, b"busy", Retry_After="61"), response(429, b"busy"))
    )
    service = await serve(clock=clock, upstreams=settings(server, patience=60))
    task = await ask(service)
    assert task["error"] == {
        "code": "service_unavailable",
        "message": "the upstream answered 429: busy",
        "type": "task_error",
    }
    await clock.advance(61)
    begin = clock.time()
    task = await service.submit()
    while (await service.task(task["id"]))["status"] != "failed":
        await clock.advance(0.25)
    assert clock.time() - begin > 40
    assert 8 < len(server.requests) < 16


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"role": "assistant", "content": "the whole answer"}},
        {"delta": None, "message": {"content": "the whole answer"}},
        {"text": "the whole answer"},
    ],
)
async def test_a_whole_message_in_a_chunk_is_the_answer(
    serve: "Serve", upstream: StartUpstream, choice: dict[str, Any]
) -> None:
    """A server that sends a message or a text in place of a delta gives no empty answer."""
    whole = {"choices": [{"index": 0, "finish_reason": "stop", **choice}]}
    server = await upstream(sends(event(whole), DONE))
    service = await serve(upstreams=settings(server))
    assert message(await ask(service))["content"] == "the whole answer"


async def test_an_old_function_call_fails_the_task(serve: "Serve", upstream: StartUpstream) -> None:
    """A call that no chunk of the service can carry fails the task; it is no empty text."""
    call = {"delta": {"function_call": {"name": "f", "arguments": "{}"}}}
    server = await upstream(sends(event({"choices": [{"index": 0, **call}]}), DONE))
    service = await serve(upstreams=settings(server))
    task = await ask(service)
    assert task["error"]["code"] == "service_unavailable"
    assert "send `tools`" in task["error"]["message"]


async def test_a_long_retry_after_holds_for_the_tasks_behind(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """A task that gives up for a long `Retry-After` does not send the others to the upstream."""
    clock = ManualClock()
    server = await upstream(responds(response(429, b"busy", Retry_After="61")))
    service = await serve(clock=clock, upstreams=settings(server, patience=60, concurrency=1))
    tasks = [await service.submit() for _ in range(20)]
    while (await service.task(tasks[0]["id"]))["status"] != "failed":
        await clock.advance(0)
    await clock.advance(59)
    assert len(server.requests) == 1


async def test_an_upstream_that_is_down_is_waited_for(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """A refused connection proves that nothing was asked, so the task asks again."""
    clock = ManualClock()
    server = await upstream(sends(*ANSWER))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        service = await serve(
            clock=clock, upstreams=[Upstream(url=down, models=["plain"], patience=60)]
        )
        task = await service.submit(model="plain")
        counters = service.gateway.stats.upstreams[0]
        while counters.retries < 3:
            await clock.advance(0.25)
        while (await service.task(task["id"]))["status"] != "failed":
            await clock.advance(1)
    ended = await service.task(task["id"])
    assert ended["error"]["code"] == "model_unavailable"
    assert ended["error"]["message"] == "the upstream cannot be reached: Connection refused"
    assert not server.requests


async def test_tasks_wait_in_order_and_keys_take_turns(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """An upstream gets its concurrency and no more; a key with many tasks does not block others."""
    running = peak = 0
    gate = asyncio.Semaphore(0)

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        nonlocal running, peak
        del number
        running += 1
        peak = max(peak, running)
        await gate.acquire()
        running -= 1
        writer.write(STREAM_HEAD + b"".join(ANSWER))

    server = await upstream(script)
    service = await serve(api_keys=["sk-many", "sk-one"], upstreams=settings(server, concurrency=2))

    async def submit(key: str, text: str) -> str:
        messages = [{"role": "user", "content": text}]
        reply = await service.post(key, model="plain", messages=messages)
        task_id: str = reply.json["id"]
        return task_id

    ids = [await submit("sk-many", f"many {number}") for number in range(6)]
    ids += [await submit("sk-one", "one 0"), await submit("sk-one", "one 1")]
    counters = service.gateway.stats.upstreams[0]
    while len(server.requests) < 2:
        await asyncio.sleep(0)
    assert (counters.waiting, counters.running) == (6, 2)
    for _ in ids:
        gate.release()
    while service.gateway.stats.completed < len(ids):
        await asyncio.sleep(0)
    asked = [item.body["messages"][0]["content"] for item in server.requests]
    assert asked[2:] == ["many 2", "one 0", "many 3", "one 1", "many 4", "many 5"]
    assert peak == 2
    assert (counters.waiting, counters.running) == (0, 0)


async def test_media_has_the_form_that_servers_know(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """Images and videos pass through; recordings and files become the parts of OpenAI's API."""
    server = await upstream(sends(*ANSWER))
    service = await serve(upstreams=settings(server, models=["all:vision,video,audio,file"]))
    image = {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "low"}}
    video = {"type": "video_url", "video_url": {"url": "https://x.org/a.mp4"}}
    wav = {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,UklGRg=="}}
    ogg = {"type": "audio_url", "audio_url": {"url": "https://x.org/a.ogg"}}
    pdf = {"type": "file_url", "file_url": {"url": "data:application/pdf;base64,JVBERi0="}}
    text = {"type": "text", "text": "look"}
    content = [text, image, video, wav, ogg, pdf]
    await ask(service, model="all", messages=[{"role": "user", "content": content}])
    assert server.requests[0].body["messages"][0]["content"] == [
        text,
        image,
        video,
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        ogg,
        {"type": "file", "file": {"filename": "document.pdf", "file_data": pdf["file_url"]["url"]}},  # type: ignore[index]
    ]
    remote = {"type": "file_url", "file_url": {"url": "https://x.org/a.pdf"}}
    task = await ask(service, model="all", messages=[{"role": "user", "content": [remote]}])
    assert task["error"]["code"] == "unsupported_content_type"
    assert len(server.requests) == 1


async def test_a_large_request_reaches_the_upstream(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """A picture of several megabytes arrives as it was sent."""
    server = await upstream(sends(*ANSWER))
    service = await serve(upstreams=settings(server))
    url = "data:image/png;base64," + "QUJD" * 1_000_000
    content = [{"type": "image_url", "image_url": {"url": url}}]
    body = json.dumps({"model": "gpt-5.5", "messages": [{"role": "user", "content": content}]})
    reply = await service.call(
        "POST",
        "/v1/llm/generations",
        data=BytesIO(body.encode()),
        headers={"Content-Type": "application/json"},
    )
    assert message(await service.finished(reply.json["id"]))["content"] == "Hello world"
    assert server.requests[0].body["messages"][0]["content"] == content


async def test_the_base_url_of_an_upstream_can_change(upstream: StartUpstream) -> None:
    """A server that comes back on another port is found by the next attempt of the same task."""
    server = await upstream(sends(*ANSWER))
    urls = iter(["http://127.0.0.1:1/v1", server.url])
    asked: list[str] = []

    async def base_url() -> str:
        asked.append(next(urls))
        return asked[-1]

    counters, gateway_stats = UpstreamStats("local"), GatewayStats()
    model = UpstreamModel(
        Upstream(url="http://127.0.0.1/v1", models=["plain"]),
        clock=LoopClock(),
        stats=counters,
        base_url=base_url,
    )
    registry = ModelRegistry()
    for rules in model.rules:
        registry.add(rules, model)
    store = make_store(GatewaySettings())
    await store.open()
    await registry.open()
    engine = Engine(settings=GatewaySettings(), models=registry, store=store, stats=gateway_stats)
    request = GenerationRequest(model="plain", messages=(Message(role="user", content="go"),))
    task = await engine.submit(request)
    while not gateway_stats.completed:
        await asyncio.sleep(0)
    assert b"Hello world" in (await store.snapshot(task.id) or b"")
    assert len(asked) == 2
    assert counters.retries == 1
    await engine.aclose()
    await registry.aclose()
    await store.aclose()


async def test_capabilities_of_an_upstream_refuse_at_submit(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """A known model whose place is taken by one with fewer inputs takes only those."""
    server = await upstream(sends(*ANSWER))
    models = {"gpt-5.5:text": "qwen3:8b", "gemini-3-pro-preview:vision": "qwen2.5vl"}
    service = await serve(upstreams=settings(server, models=models))
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    messages = [{"role": "user", "content": [image]}]
    reply = await service.post(model="gpt-5.5", messages=messages)
    assert (reply.status, reply.json["error"]["code"]) == (422, "unsupported_content_type")
    reply = await service.post(model="gemini-3-pro-preview", messages=messages)
    assert reply.status == 200
    # Other rules of the model hold.
    reply = await service.post(model="gpt-5.5", messages="x", max_tokens=1)
    assert reply.status == 422


async def test_only_upstream_hides_the_simulated_models(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """Both lists and the whitelist have the models of upstreams alone."""
    server = await upstream(sends(*ANSWER))
    service = await serve(upstreams=settings(server), models=["fake"], only_upstream=True)
    for path in ("/v1/models", "/v1/configs/llm_generations_models"):
        listed = (await service.call("GET", path)).json["data"]
        assert [item["id"] for item in listed] == ["gpt-5.5", "plain"]
    messages = [{"role": "user", "content": "x"}]
    for model in ("kimi-k2.6", "fake"):
        reply = await service.post(model=model, messages=messages)
        assert reply.json["error"]["code"] == "model_not_supported"
    with pytest.raises(ConfigError, match="only_upstream needs"):
        Gateway(only_upstream=True)


async def test_the_key_is_sent_to_the_upstream_and_nowhere_else(
    serve: "Serve",
    upstream: StartUpstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The key is in the header of the request, and in no repr, log, error, event or stat."""
    monkeypatch.setenv("UPSTREAM_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"error": {"message": f"invalid key {SECRET}"}}).encode()
    server = await upstream(
        responds(
            response(401, echo),
            STREAM_HEAD + chunk(f"the key is {SECRET}.") + event(json.loads(echo)),
            STREAM_HEAD + chunk(f"the key is {SECRET}.") + b"".join(ANSWER[1:]),
        )
    )
    upstreams = settings(server, key_env="UPSTREAM_KEY")
    service = await serve(upstreams=upstreams, log="text")
    shown = [repr(upstreams)]
    for _ in range(3):
        task = await service.submit(stream=True)
        shown.append((await service.stream(task["id"])).body.decode())
        shown.append(json.dumps(await service.finished(task["id"])))
    assert [item.headers["authorization"] for item in server.requests] == [f"Bearer {SECRET}"] * 3
    shown += [json.dumps(service.gateway.stats.as_dict()), caplog.text]
    assert not any(SECRET in text or SECRET[4:-4] in text for text in shown)
    assert "invalid key sk-9…cdef" in caplog.text
    assert caplog.text.count("invalid key") == 1


def call_piece(**function: str) -> dict[str, Any]:
    """Build the delta of a piece of a tool call."""
    return {"tool_calls": [{"index": 0, "id": "call-1", "type": "function", "function": function}]}


@pytest.mark.parametrize(
    "delta",
    [
        lambda piece: {"content": piece},
        lambda piece: {"reasoning_content": piece},
        lambda piece: {"refusal": piece},
        lambda piece: call_piece(name="f", arguments=piece),
        lambda piece: call_piece(name=piece),
    ],
    ids=["content", "reasoning", "refusal", "arguments", "name"],
)
@pytest.mark.parametrize("size", [1, 7, 15])
async def test_a_key_that_is_repeated_in_pieces_is_masked(
    serve: "Serve",
    upstream: StartUpstream,
    monkeypatch: pytest.MonkeyPatch,
    events: Callable[[bytes], "list[Event]"],
    delta: Callable[[str], dict[str, Any]],
    size: int,
) -> None:
    """However an upstream splits its key, no client can join it from the stream or the result."""
    monkeypatch.setenv("UPSTREAM_KEY", SECRET)
    text = f"it is {SECRET}, as s"
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    chunks = [chunk(delta=delta(piece)) for piece in pieces]
    server = await upstream(sends(*chunks, chunk(finish="stop"), DONE))
    service = await serve(upstreams=settings(server, key_env="UPSTREAM_KEY"))
    task = await service.submit(model="plain", stream=True)
    found = events((await service.stream(task["id"])).body)
    deltas = [choice["delta"] for item in found[:-1] for choice in item.data["choices"]]
    streamed: dict[str, str] = {}
    for item in deltas:
        calls = [call["function"] for call in item.pop("tool_calls", ())]
        for member, value in [pair for part in (item, *calls) for pair in part.items()]:
            streamed[member] = streamed.get(member, "") + (value or "")
    stored = message(await service.finished(task["id"]))
    for call in stored.pop("tool_calls", None) or ():
        stored |= call["function"]
    (member,) = (name for name, value in streamed.items() if value.startswith("it is "))
    for shown in (streamed[member], stored[member]):
        assert SECRET not in shown
        assert SECRET[4:-4] not in shown
        assert shown.startswith("it is sk-9")
        assert shown.endswith("…cdef, as s")


@pytest.mark.parametrize("value", [None, "", "  ", "ключ", "two words"])
def test_a_key_that_is_missing_or_wrong_is_explained(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """The gateway is not built, and the error names the variable and never its value."""
    monkeypatch.delenv("UPSTREAM_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("UPSTREAM_KEY", value)
    upstream = Upstream(url="http://127.0.0.1:1/v1", models=["m"], key_env="UPSTREAM_KEY")
    with pytest.raises(ConfigError, match="UPSTREAM_KEY") as caught:
        Gateway(upstreams=[upstream])
    assert not (value or "").strip() or str(value) not in str(caught.value)


async def test_a_short_key_does_not_change_answers(
    serve: "Serve", upstream: StartUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A placeholder that a local server takes for a key may be a word of an answer."""
    monkeypatch.setenv("UPSTREAM_KEY", "Hello")
    server = await upstream(sends(*ANSWER))
    service = await serve(upstreams=settings(server, key_env="UPSTREAM_KEY"))
    assert message(await ask(service))["content"] == "Hello world"


async def test_characters_that_are_split_between_chunks_are_joined(
    serve: "Serve", upstream: StartUpstream
) -> None:
    """Bytes and surrogates of one character may come in two chunks and in two reads."""
    fox = "🦊".encode()
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number
        writer.write(STREAM_HEAD)
        stream = b"".join(
            (
                frame % (b"a" + fox[:2]),
                frame % fox[2:],
                frame % b"\\ud83e",
                frame % b"\\udd8a!",
                frame % fox[:3],
                chunk(finish="stop"),
                DONE,
            )
        )
        for position in range(len(stream)):
            writer.write(stream[position : position + 1])
            await writer.drain()

    server = await upstream(script)
    service = await serve(upstreams=settings(server))
    assert message(await ask(service))["content"] == "a🦊🦊!\ufffd"


async def test_the_client_streams_from_an_upstream(upstream: StartUpstream) -> None:
    """`generate` and `stream` of the SDK work with the models of an upstream."""
    server = await upstream(sends(*ANSWER))
    async with (
        Gateway(upstreams=settings(server), only_upstream=True) as gateway,
        FoxSession("sk-x", base_url=gateway.url) as fox,
    ):
        completion = await fox.llm.generate(model="plain", messages="hello")
        assert completion.text == "Hello world"
        async with fox.llm.stream(model="plain", messages="hello") as stream:
            assert "".join([delta.text async for delta in stream]) == "Hello world"


async def test_a_gateway_that_closes_leaves_the_upstream(upstream: StartUpstream) -> None:
    """Shutdown closes the connections of running answers, and does not wait for them."""
    closed = asyncio.Event()

    async def script(number: int, writer: asyncio.StreamWriter) -> None:
        del number
        writer.write(STREAM_HEAD + chunk("Hel"))
        try:
            while True:
                writer.write(b": ping\n\n")
                await writer.drain()
                await asyncio.sleep(0)
        finally:
            closed.set()

    server = await upstream(script)
    async with (
        Gateway(upstreams=settings(server)) as gateway,
        FoxSession("sk-x", base_url=gateway.url) as fox,
    ):
        await fox.llm.submit(model="plain", messages="hello", stream=True)
        while gateway.stats.chunks < 1:
            await asyncio.sleep(0)
    await closed.wait()
    await settle()
