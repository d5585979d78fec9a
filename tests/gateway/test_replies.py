"""Scripted answers, and the list of what was sent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async import FoxSession, TaskFailedError, UnprocessableEntityError
from foxapi_async._clock import ManualClock
from foxapi_async.errors import ConfigError
from foxapi_async.gateway import Gateway, Reply, load_replies
from foxapi_async.gateway.models import Replies

if TYPE_CHECKING:
    from tests.gateway.conftest import Event, Serve

CALLS: list[dict[str, Any]] = [
    {"name": "weather", "arguments": {"city": "Bern"}},
    {"name": "time", "arguments": "not json", "id": "call_mine"},
]


async def test_replies_come_in_order_and_once() -> None:
    """Each submit takes the next reply; the script ends with a clear refusal that bills nothing."""
    async with (
        Gateway(replies=["one", Reply(text="two", times=2)]) as gateway,
        FoxSession("sk-test-1234", base_url=gateway.url) as fox,
    ):
        for text in ("one", "two", "two"):
            completion = await fox.llm.generate(model="gpt-5.5", messages="hi")
            assert (completion.text, completion.finish_reason) == (text, "stop")
        with pytest.raises(UnprocessableEntityError, match="no reply for 'hi'") as refused:
            await fox.llm.submit(model="gpt-5.5", messages="hi")
        assert refused.value.code == "no_reply_left"
        assert gateway.stats.tasks == 3
        gateway.replies.add("more")
        assert (await fox.llm.generate(model="gpt-5.5", messages="hi")).text == "more"
        gateway.replies.clear()
        assert (await fox.llm.generate(model="gpt-5.5", messages="count to 2")).text == "1, 2"


async def test_a_reply_for_a_prompt_waits_for_it() -> None:
    """A reply with a prompt is for requests that contain it; the others take the next one."""
    script = [Reply(text="Bern", prompt="capital", times=None), Reply(text="other")]
    async with (
        Gateway(replies=script) as gateway,
        FoxSession("sk-test-1234", base_url=gateway.url) as fox,
    ):

        async def ask(prompt: str) -> str:
            return (await fox.llm.generate(model="gpt-5.5", messages=prompt)).text

        assert await ask("hello") == "other"
        assert await ask("what is the capital?") == "Bern"
        assert await ask("the capital again") == "Bern"
        with pytest.raises(UnprocessableEntityError, match="1 are left, for other prompts"):
            await ask("hello")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_calls_tools(*, stream: bool) -> None:
    """Tool calls come whole in the stored completion and in the stream, text before them."""
    reply = {"text": "Let me look.", "tool_calls": CALLS}
    async with (
        Gateway(replies=[reply]) as gateway,
        FoxSession("sk-test-1234", base_url=gateway.url) as fox,
    ):
        handle = await fox.llm.submit(model="gpt-5.5", messages="hi", stream=stream)
        completion = await handle
    assert completion.text == "Let me look."
    assert completion.finish_reason == "tool_calls"
    calls = list(completion.message.tool_calls or ())
    assert [call.function.name for call in calls if call.function] == ["weather", "time"]
    assert [call.function.arguments for call in calls if call.function] == [
        '{"city":"Bern"}',
        "not json",
    ]
    assert calls[1].id == "call_mine"
    assert calls[0].id


async def test_chunks_are_sent_as_they_are(
    serve: "Serve", events: Callable[[bytes], "list[Event]"]
) -> None:
    """``chunks`` are the chunks of the stream; reasoning comes first and is not stored."""
    reply = Reply(chunks=("a", "", "b c"), reasoning="hm hm")
    service = await serve(replies=[reply])
    task = await service.submit(stream=True)
    found = events((await service.stream(task["id"])).body)
    deltas = [item.data["choices"][0]["delta"] for item in found if item.name == "chunk"]
    assert [delta.get("reasoning_content") for delta in deltas[:2]] == ["hm", " hm"]
    assert [delta.get("content") for delta in deltas[2:5]] == ["a", "", "b c"]
    assert deltas[0]["role"] == "assistant"
    assert found[-1].data == {"total_chunks": 6}
    completion = (await service.finished(task["id"]))["results"][0]
    assert completion["choices"][0]["message"] == {"role": "assistant", "content": "ab c"}
    assert completion["usage"]["completion_tokens"] == 5


async def test_the_usage_is_streamed_if_it_is_asked_for(
    serve: "Serve", events: Callable[[bytes], "list[Event]"]
) -> None:
    """``include_usage`` works for scripted answers too."""
    service = await serve(replies=["one two"])
    task = await service.submit(stream=True, stream_options={"include_usage": True})
    found = events((await service.stream(task["id"])).body)
    assert found[-2].data["choices"] == []
    assert found[-2].data["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_can_fail(*, stream: bool) -> None:
    """A reply with an error fails its task with the code, after the text."""
    reply = Reply(text="half a", error="timeout", message="too slow today")
    async with (
        Gateway(replies=[reply]) as gateway,
        FoxSession("sk-test-1234", base_url=gateway.url) as fox,
    ):
        handle = await fox.llm.submit(model="gpt-5.5", messages="hi", stream=stream)
        with pytest.raises(TaskFailedError, match="too slow today") as failed:
            await handle
        assert failed.value.code == "timeout"


async def test_a_reply_can_be_late(serve: "Serve") -> None:
    """``delay`` holds the answer back on the gateway's clock."""
    clock = ManualClock()
    service = await serve(clock=clock, replies=[Reply(text="late", delay=30)])
    task = await service.submit()
    await clock.advance(29)
    assert (await service.task(task["id"]))["status"] == "pending"
    await clock.advance(1)
    assert (await service.task(task["id"]))["status"] == "completed"


async def test_a_reply_is_no_way_around_the_checks(serve: "Serve") -> None:
    """A request that is refused, or whose key has no credits, takes no reply."""
    service = await serve(replies=["one"], api_keys={"sk-poor": 0, "sk-local-test-key": None})
    assert (await service.post(model="none", messages=[])).status == 422
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "x"}]}
    assert (await service.post("sk-poor", **body)).status == 402
    assert len(service.gateway.replies.left) == 1


async def test_a_scripted_answer_ends_with_a_restart(serve: "Serve", tmp_path: Path) -> None:
    """A restarted gateway ends an answer that has begun, because it has no reply to go on with."""
    data, clock = tmp_path / "foxapi.db", ManualClock()
    async with (
        Gateway(
            data=data, replies=["one " * 1000], clock=clock, queue_delay=0, token_delay=1
        ) as gateway,
        FoxSession("sk-local-test-key", base_url=gateway.url) as fox,
    ):
        handle = await fox.llm.submit(model="gpt-5.5", messages="hi", stream=True)
        while not gateway.stats.chunks:
            await clock.advance(1)
    service = await serve(data=data)
    task = await service.finished(handle.id)
    assert task["error"]["code"] == "service_restarted"


async def test_what_was_sent_is_listed(serve: "Serve") -> None:
    """``requests`` has the bodies in order, those of refused submits too."""
    service = await serve()
    await service.submit("one", temperature=0.5)
    await service.post(model="none", messages=[])
    await service.call("POST", "/v1/llm/generations", data=b"{", headers={"Content-Type": "x/y"})
    sent = service.gateway.requests
    assert [item["model"] for item in sent] == ["gpt-5.5", "none"]
    assert sent[0]["temperature"] == 0.5
    assert sent[0]["messages"] == [{"role": "user", "content": "one"}]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (5, "a reply is a text, or an object"),
        ({"txt": "a"}, "unknown field `txt`"),
        ({"text": 5}, "Reply.text"),
        ({"text": "a", "chunks": ["a"]}, "Reply.chunks"),
        ({"times": 0}, "Reply.times"),
        ({"delay": -1}, "Reply.delay"),
        ({"delay": float("nan")}, "Reply.delay"),
        ({"error": ""}, "Reply.error"),
        ({"tool_calls": [{"arguments": {}}]}, r"Reply.tool_calls\[0\].name"),
    ],
)
def test_a_wrong_reply_is_refused(reply: object, message: str) -> None:
    """The error names the field, and nothing is added."""
    replies = Replies()
    with pytest.raises(ConfigError, match=message):
        replies.add("good", reply)
    assert not replies
    assert replies.left == ()


def test_replies_are_a_list() -> None:
    """A text in place of the list would be a reply for each letter."""
    for value in ("abc", {"text": "a"}, 5):
        with pytest.raises(ConfigError, match=r"GatewaySettings\.replies must be a list"):
            Gateway(replies=value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'replies = ["one", {text = "two", times = 2}]'),
        ("b.toml", '[[replies]]\ntext = "one"\n[[replies]]\ntext = "two"\ntimes = 2\n'),
        ("a.json", json.dumps(["one", {"text": "two", "times": 2}])),
        ("a.jsonl", '"one"\n\n{"text": "two", "times": 2}\n'),
    ],
)
def test_replies_are_read_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    """TOML, JSON and JSONL files say the same."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert load_replies(path) == (Reply(text="one"), Reply(text="two", times=2))


def test_lines_of_replies_end_where_json_says(tmp_path: Path) -> None:
    """A line ends at LF or CRLF alone; other separators are a part of the text."""
    text = "a\u2028b\u2029c\u0085d\x7fe"
    lines = [json.dumps(text, ensure_ascii=False), "", ' {"text": "two"} \t', ""]
    path = tmp_path / "a.jsonl"
    for mark, end in (("", "\n"), ("\ufeff", "\r\n")):
        path.write_bytes((mark + end.join(lines)).encode())
        assert load_replies(path) == (Reply(text=text), Reply(text="two"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'"one"\r\n\r\n{"text" 5}', r"line 3: it is not JSON: .*\(column 9\)"),
        ("a.jsonl", b'"one"\n{"txt": "a"}', "line 2: Reply: .*unknown field `txt`"),
        ("a.jsonl", b'"one"\n5\n', "line 2: a reply is a text, or an object"),
        ("a.jsonl", b'"one"\n\xe2\x80\xa8\n', "line 2: it is not JSON"),
        ("a.jsonl", b"1" * 5000, "line 1: it is not JSON: Exceeds the limit"),
        ("a.jsonl", b"[" * 200_000, "line 1: it is not JSON: "),
        ("a.json", b'["one",\n 5 5]', r"it is not JSON: .*\(line 2, column 4\)"),
        ("a.json", b'["one", {"times": 0}]', "reply 2: Reply.times"),
        ("a.toml", b'[[replies]]\ntext = "a"\n[[replies]]\ndelay = -1', "reply 2: Reply.delay"),
        ("a.toml", b"replies = " + b"1" * 5000, "it is not TOML: Exceeds the limit"),
        ("a.json", '["\u00fc"]'.encode("utf-16"), "it is not UTF-8.*save it as UTF-8"),
    ],
)
def test_the_error_of_a_file_says_where(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """The error has the number of the line, or of the reply where lines are not known."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"replies file .*{name}: {message}"):
        load_replies(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "replies = 5", "no list of replies"),
        ("a.toml", 'reply = ["a"]', "there is no 'reply'"),
        ("a.toml", "replies = [", "a.toml"),
        ("a.json", '{"text": "a"}', "no list of replies"),
        ("a.json", '[{"text": 1}]', "Reply.text"),
        ("a.jsonl", "one\n", "a.jsonl"),
    ],
)
def test_a_wrong_file_of_replies_is_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    """The error names the file and what is wrong in it."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message):
        load_replies(path)
    with pytest.raises(ConfigError, match="No such file"):
        load_replies(tmp_path / "missing.toml")
