"""``POST /v1/llm/generations`` with ``prompt`` or ``audio_url`` (contract §3.1, §3.4, §4.1)."""

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Target

SUBMIT = "/v1/llm/generations"
IMAGE = "https://example.com/sample.png"
VIDEO = "https://example.com/sample.mp4"
AUDIO = "https://example.com/sample.wav"
GEMINI = "gemini-3-pro-preview"
TEXT: dict[str, Any] = {"model": "claude-opus-4-7", "prompt": "say yes"}
VISION: dict[str, Any] = TEXT | {"image_urls": [IMAGE]}
VIDEOS: dict[str, Any] = {"model": GEMINI, "prompt": "say yes", "video_urls": [VIDEO]}
HEARD: dict[str, Any] = {"model": GEMINI, "audio_url": AUDIO}
OPTIONS: dict[str, Any] = {
    "system_prompt": "be brief",
    "max_tokens": 64,
    "temperature": 0.7,
    "reasoning": False,
    "sync": False,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("form", [TEXT, VISION, VIDEOS, HEARD, HEARD | {"prompt": "say yes"}])
async def test_each_form_makes_a_task(
    target: "Target", events: Any, form: dict[str, Any], *, stream: bool
) -> None:
    """Each form has the task, the stored completion and the stream of a conversation."""
    reply = await target.post(**form, **OPTIONS, stream=stream)
    assert reply.status == 200, reply
    task = reply.json
    found = re.fullmatch(r"task-(llm|llmrouter)-(\d+)-[a-z0-9]{8}", task["id"])
    assert found, task["id"]
    # The documentation of audio has an id with `llm`, the others have `llmrouter`.
    assert found[1] == "llmrouter" or "audio_url" in form
    assert int(found[2]) == task["created"]
    path = f"{SUBMIT}/{task['id']}/stream"
    assert {name: task[name] for name in task if name not in {"usage", "id", "created"}} == {
        "object": "llm.generation.task",
        "type": "llm",
        "model": form["model"],
        "status": "pending",
        "progress": 0,
        "stream": {"url": path} if stream else None,
        "results": None,
        "error": None,
    }
    if stream:
        *chunks, done = events((await target.stream(task["id"])).body)
        assert done.name == "done"
        assert done.data["total_chunks"] == len(chunks) > 0
        assert {chunk.data["object"] for chunk in chunks} == {"chat.completion.chunk"}
    (completion,) = (await target.snapshots(task["id"]))[-1]["results"]
    assert completion["object"] == "chat.completion"
    assert isinstance(completion["choices"][0]["message"]["content"], str)


@pytest.mark.parametrize("name", ["system_prompt", "max_tokens", "temperature"])
async def test_an_option_may_be_null(target: "Target", name: str) -> None:
    """``system_prompt``, ``max_tokens`` and ``temperature`` may be null."""
    assert (await target.post(**TEXT, **{name: None})).status == 200


@pytest.mark.parametrize(
    "members",
    [
        {"model": "claude-opus-4-7", "image_urls": [IMAGE]},
        {"model": GEMINI, "video_urls": [VIDEO]},
        {"prompt": "say yes"},
        TEXT | {"prompt": ""},
        TEXT | {"prompt": "x" * 100_001},
        TEXT | {"prompt": 5},
        TEXT | {"system_prompt": "x" * 10_001},
        TEXT | {"max_tokens": 0},
        TEXT | {"temperature": -0.1},
        TEXT | {"temperature": 2.1},
        TEXT | {"reasoning": "perhaps"},
        VISION | {"image_urls": []},
        VISION | {"image_urls": [IMAGE] * 11},
        VISION | {"image_urls": IMAGE},
        VIDEOS | {"video_urls": []},
        VIDEOS | {"video_urls": [VIDEO] * 11},
        HEARD | {"audio_url": ""},
    ],
)
async def test_the_bounds_of_each_form_hold(target: "Target", members: dict[str, Any]) -> None:
    """A missing member, and a value outside its bounds, is a 422."""
    reply = await target.post(**members)
    assert (reply.status, reply.error["type"]) == (422, "invalid_request_error")


async def test_messages_select_the_conversation(target: "Target") -> None:
    """A body with ``messages`` is a conversation, whatever else it has."""
    messages = [{"role": "user", "content": "say yes"}]
    reply = await target.post(model="gpt-5.5", messages=messages, system_prompt="be brief")
    assert reply.status == 200
    assert re.fullmatch(r"task-llm-\d+-[a-z0-9]{8}", reply.json["id"])
