"""Requests with ``prompt`` at the gateway: what its models read, and what it refuses."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async._clock import ManualClock, settle
from foxapi_async.gateway.upstream_settings import Upstream
from tests.gateway.scripted_upstream import ANSWER, scripted_upstream, sends

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

GEMINI = "gemini-3-pro-preview"
TEXT: dict[str, Any] = {"model": "gpt-5.5", "prompt": "count 1 to 3"}


def url(kind: str, name: str) -> dict[str, Any]:
    """Return a content part with media."""
    return {"type": kind, kind: {"url": name}}


def message(role: str, content: Any) -> dict[str, Any]:
    """Return a message."""
    return {"role": role, "content": content}


OTHER: dict[str, Any] = {"messages": [message("user", "other")]}
ASK = {"type": "text", "text": "what is it?"}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"prompt": "hi"}, {"messages": [message("user", "hi")]}),
        (
            {"prompt": "hi", "system_prompt": "be brief", "max_tokens": 9, "temperature": 0},
            {
                "messages": [message("system", "be brief"), message("user", "hi")],
                "max_tokens": 9,
                "temperature": 0,
            },
        ),
        (
            {"prompt": "hi", "system_prompt": None, "max_tokens": None, "temperature": None},
            {"messages": [message("user", "hi")]},
        ),
        ({"prompt": "hi", "reasoning": False}, {"messages": [message("user", "hi")]}),
        (
            {"prompt": "hi", "reasoning": True, "top_p": 0.5, "image_url": "x", "stop": ["a"]},
            {
                "messages": [message("user", "hi")],
                "reasoning": True,
                "top_p": 0.5,
                "image_url": "x",
                "stop": ["a"],
            },
        ),
        (
            {"prompt": "hi", "extra": {"a": 1}, "vendor": None, "seed": None},
            {"messages": [message("user", "hi")], "extra": {"a": 1}, "vendor": None, "seed": None},
        ),
        (
            {
                "prompt": "what is it?",
                "image_urls": ["https://a/1.png", "data:image/png;base64,AA"],
            },
            {
                "messages": [
                    message(
                        "user",
                        [
                            ASK,
                            url("image_url", "https://a/1.png"),
                            url("image_url", "data:image/png;base64,AA"),
                        ],
                    )
                ]
            },
        ),
        (
            {"prompt": "what is it?", "video_urls": ["https://a/1.mp4"]},
            {"messages": [message("user", [ASK, url("video_url", "https://a/1.mp4")])]},
        ),
        (
            {"audio_url": "https://a/1.wav"},
            {
                "messages": [
                    message(
                        "user",
                        [
                            {"type": "text", "text": "Transcribe this audio."},
                            url("audio_url", "https://a/1.wav"),
                        ],
                    )
                ]
            },
        ),
    ],
)
async def test_models_read_a_conversation(
    serve: "Serve", members: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A model is asked with messages; other members are passed on as those of a conversation."""
    async with scripted_upstream(sends(*ANSWER)) as upstream:
        upstreams = [Upstream(url=upstream.url, models={GEMINI: "local"})]
        service = await serve(upstreams=upstreams)
        reply = await service.post(model=GEMINI, **members)
        task = await service.finished(reply.json["id"])
        assert task["results"][0]["choices"][0]["message"]["content"] == "Hello world"
        (asked,) = upstream.requests
        del asked.body["stream"], asked.body["stream_options"]
        assert asked.body == expected | {"model": "local"}
        assert service.gateway.requests == [{"model": GEMINI, **members}]


@pytest.mark.parametrize(
    ("members", "code", "param"),
    [
        ({"model": "gpt-5.5", "image_urls": ["u"]}, "invalid_param", "prompt"),
        (TEXT | {"prompt": ""}, "invalid_param", "prompt"),
        (TEXT | {"prompt": None}, "invalid_param", "prompt"),
        (TEXT | {"image_urls": ["u"], "video_urls": ["u"]}, "invalid_param", "video_urls"),
        (TEXT | {"image_urls": ["u"], "audio_url": "u"}, "invalid_param", "audio_url"),
        (TEXT | {"image_urls": ["u", ""]}, "invalid_param", "image_urls[1]"),
        (TEXT | {"image_urls": ["u", 5]}, "invalid_param", "image_urls[1]"),
        (TEXT | {"image_urls": ["u"] * 11}, "invalid_param", "image_urls"),
        (TEXT | {"video_urls": ["u"]}, "unsupported_content_type", "video_urls"),
        (TEXT | {"audio_url": "u"}, "unsupported_content_type", "audio_url"),
        (TEXT | {"model": "gpt-9"}, "model_not_supported", "model"),
        (TEXT | {"model": ""}, "invalid_param", "model"),
        (TEXT | {"sync": True}, "invalid_param", "sync"),
        (TEXT | {"stream": "yes"}, "invalid_param", "stream"),
        (TEXT | {"top_p": "high"}, "invalid_param", "top_p"),
        (TEXT | {"stop": [5]}, "invalid_param", "stop[0]"),
        (TEXT | {"n": 1000}, "invalid_param", "n"),
        (TEXT | {"stop": ["x"] * 65}, "invalid_param", "stop"),
        ({"prompt": "hi"}, "invalid_param", "model"),
        ({"model": "gpt-5.5"}, "invalid_param", "messages"),
        ({"model": "gpt-5.5", "system_prompt": "hi"}, "invalid_param", "messages"),
    ],
)
async def test_a_refusal_names_the_member_of_the_form(
    service: "Service", members: dict[str, Any], code: str, param: str
) -> None:
    """An error names the member that was sent, not the conversation that it would become."""
    reply = await service.post(**members)
    assert reply.status == 422
    error = reply.json["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert service.gateway.stats.tasks == 0


async def test_the_bounds_themselves_are_accepted(service: "Service") -> None:
    """The longest prompts, the most URLs and the extreme values are accepted."""
    for members in (
        TEXT | {"prompt": "x" * 100_000, "system_prompt": "x" * 10_000},
        TEXT | {"image_urls": ["u"] * 10},
        TEXT | {"temperature": 2, "max_tokens": 1, "stream": None},
        TEXT | {"temperature": 0, "model": "claude-opus-4-7"},
    ):
        assert (await service.post(**members)).status == 200


async def test_the_completion_has_an_id_of_its_own(service: "Service") -> None:
    """The id of the completion is that of the task without its prefix."""
    task = (await service.post(**TEXT)).json
    assert task["id"].startswith("task-llmrouter-")
    (completion,) = (await service.finished(task["id"]))["results"]
    assert completion["id"] == task["id"].replace("task-llmrouter-", "chatcmpl-")
    audio = (await service.post(model=GEMINI, audio_url="u")).json
    assert audio["id"].startswith("task-llm-")


async def test_faults_and_replies_act_on_prompts(serve: "Serve") -> None:
    """A fault rule fails a task with a prompt, and a scripted reply finds its prompt."""
    replies = [{"text": "a", "prompt": "first"}, {"text": "b", "prompt": "second"}]
    service = await serve(replies=replies)
    task = (await service.post(model="gpt-5.5", prompt="second", image_urls=["u"])).json
    completion = (await service.finished(task["id"]))["results"][0]
    assert completion["choices"][0]["message"]["content"] == "b"
    for members, param in (({"prompt": "other"}, "prompt"), (OTHER, "messages")):
        error = (await service.post(model="gpt-5.5", **members)).json["error"]
        assert (error["code"], error["param"]) == ("no_reply_left", param)
    service.gateway.replies.clear()
    service.gateway.faults.add("submit:fail:code=timeout")
    task = (await service.post(model="gpt-5.5", prompt="hello", system_prompt="be brief")).json
    assert (await service.finished(task["id"]))["error"]["code"] == "timeout"


async def test_a_prompt_continues_after_a_restart(serve: "Serve", tmp_path: Path) -> None:
    """A task with a prompt that a restart interrupts has the answer that it would have had."""
    options: dict[str, Any] = {"data": tmp_path / "fox.db", "queue_delay": 5, "token_delay": 1}
    members: dict[str, Any] = {
        "model": GEMINI,
        "prompt": "count 1 to 40",
        "video_urls": ["https://a/1.mp4"],
        "system_prompt": "be brief",
        "stream": True,
    }
    clock = ManualClock()
    one = await serve(clock=clock, **options)
    task = (await one.post(**members)).json
    while one.gateway.stats.chunks < 7:
        await clock.advance(1)
        await settle()
    await one.gateway.__aexit__(None, None, None)
    clock = ManualClock()
    two = await serve(clock=clock, **options)
    while (await two.task(task["id"]))["status"] not in {"completed", "failed"}:
        await clock.advance(20)
    (completion,) = (await two.task(task["id"]))["results"]
    assert "40" in completion["choices"][0]["message"]["content"]


async def test_python_spells_booleans(service: "Service") -> None:
    """``sync_upstream`` may be spelt as Python prints it."""
    task = await service.submit()
    for value in ("True", "False"):
        reply = await service.call("GET", f"/v1/tasks/{task['id']}?sync_upstream={value}")
        assert reply.status == 200
    reply = await service.call("GET", f"/v1/tasks/{task['id']}?sync_upstream=TRUE")
    assert reply.status == 422
