"""``GET /v1/llm/generations/{task_id}/stream`` (contract §5.2, §6)."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.conformance.conftest import Event, Target

SUBMIT = "/v1/llm/generations"


def text_of(chunks: "Sequence[Event]", member: str = "content") -> str:
    """Join the text of the first choice."""
    return "".join(
        choice["delta"].get(member) or ""
        for chunk in chunks
        for choice in chunk.data["choices"]
        if choice["index"] == 0
    )


@pytest.mark.parametrize("model", ["gpt-5.5", "claude-opus-4-7", "gemini-3-pro-preview"])
async def test_a_stream_has_the_answer(target: "Target", events: Any, model: str) -> None:
    """Chunks are ChatCompletion chunks, ``done`` counts them, their text is that of the task."""
    task = await target.submit(model=model, stream=True, max_tokens=64)
    reply = await target.stream(task["id"])
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    *chunks, last = events(reply.body)
    assert {chunk.name for chunk in chunks} == {"chunk"}
    assert (last.name, last.data) == ("done", {"total_chunks": len(chunks)})
    assert {chunk.data["object"] for chunk in chunks} == {"chat.completion.chunk"}
    for member in ("id", "created", "model"):
        assert len({chunk.data[member] for chunk in chunks}) == 1
    finishes = [
        choice["finish_reason"]
        for chunk in chunks
        for choice in chunk.data["choices"]
        if choice.get("finish_reason")
    ]
    assert len(finishes) == 1
    (completion,) = (await target.snapshots(task["id"]))[-1]["results"]
    assert text_of(chunks) == completion["choices"][0]["message"]["content"]


async def test_a_replay_equals_the_stream(target: "Target", events: Any) -> None:
    """Within the retention a stream can be read again from each offset."""
    task = await target.submit("count 1 to 9", stream=True)
    live = events((await target.stream(task["id"])).body)
    total = len(live) - 1
    for offset in sorted({0, 1, total // 2, total - 1, total}):
        again = events((await target.stream(task["id"], f"?offset={offset}")).body)
        assert again == live[offset:]


async def test_two_clients_read_the_same(target: "Target", events: Any) -> None:
    """Several clients can read a stream at once, each from its own offset."""
    task = await target.submit("count 1 to 9", stream=True)
    first, second = [await target.stream(task["id"], query) for query in ("", "?offset=2")]
    assert events(first.body)[2:] == events(second.body)


async def test_a_thinking_model_streams_its_reasoning(target: "Target", events: Any) -> None:
    """The stream of kimi-k2.6 has ``delta.reasoning_content`` (seed)."""
    task = await target.submit("count 1 to 3", model="kimi-k2.6", stream=True)
    *chunks, last = events((await target.stream(task["id"])).body)
    assert last.name == "done"
    assert text_of(chunks, "reasoning_content")


async def test_only_a_streamed_task_has_a_stream(target: "Target") -> None:
    """The stream of an unknown task, or of a task without one, is an error in the envelope."""
    task = await target.submit()
    for task_id in (task["id"], "task-llm-1-abcdefgh"):
        reply = await target.call("GET", f"{SUBMIT}/{task_id}/stream")
        assert reply.status in {400, 404, 410, 422}
        assert reply.error["type"]


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", "", "9" * 30])
async def test_an_offset_is_a_number_of_chunks(target: "Target", offset: str) -> None:
    """An offset other than a whole number from 0 on is refused or ignored."""
    task = await target.submit(stream=True)
    reply = await target.stream(task["id"], f"?offset={offset}")
    assert reply.status in {200, 400, 422}
    if reply.status != 200:
        assert reply.error["type"] == "invalid_request_error"
