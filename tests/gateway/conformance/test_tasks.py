"""``GET /v1/tasks/{task_id}`` (contract §4, §5.1)."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Target


def check_completion(completion: Any, model: str) -> None:
    """Check a stored completion against contract §5.1."""
    assert completion["object"] == "chat.completion"
    assert completion["model"]
    assert isinstance(completion["id"], str)
    assert isinstance(completion["created"], int)
    (choice,) = completion["choices"]
    assert choice["index"] == 0
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in {"stop", "length", "content_filter", "tool_calls"}
    if model != "kimi-k2.6":
        assert choice["message"]["content"]
    usage = completion["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("model", ["claude-opus-4-7", "kimi-k2.6"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_task_goes_forward_to_its_result(
    target: "Target", model: str, *, stream: bool
) -> None:
    """States and progress only grow, and results come last and are one ChatCompletion."""
    task = await target.submit(model=model, max_tokens=64, stream=stream)
    seen = [task, *await target.snapshots(task["id"])]
    order = ["pending", "processing", "completed"]
    states = [order.index(item["status"]) for item in seen]
    assert states == sorted(states)
    progress = [item["progress"] for item in seen]
    assert all(isinstance(item, int) and 0 <= item <= 100 for item in progress)
    for item in seen:
        for name in ("id", "object", "type", "model", "created"):
            assert item[name] == task[name]
        assert item["status"] == "completed" or not item["results"]
        assert item["error"] is None
    (completion,) = seen[-1]["results"]
    check_completion(completion, model)


async def test_a_finished_task_stays_as_it_is(target: "Target") -> None:
    """Every query of a completed task has the same response, with ``sync_upstream`` or without."""
    task = (await target.snapshots((await target.submit())["id"]))[-1]
    assert await target.query(task["id"]) == task
    for value in ("true", "false"):
        reply = await target.call("GET", f"/v1/tasks/{task['id']}?sync_upstream={value}")
        assert (reply.status, reply.json) == (200, task)


@pytest.mark.parametrize("task_id", ["task-llm-1-abcdefgh", "x", "task-llm-1776874565-%C3%A9"])
async def test_an_unknown_task_is_not_found(target: "Target", task_id: str) -> None:
    """A task that was never created is a 404 ``not_found``."""
    reply = await target.call("GET", f"/v1/tasks/{task_id}")
    assert (reply.status, reply.error["type"]) == (404, "not_found")


async def test_a_thinking_model_may_store_no_text(target: "Target") -> None:
    """The stored completion of kimi-k2.6 has no reasoning in its content (seed, contract Q1)."""
    task = await target.submit("count 1 to 3", model="kimi-k2.6", stream=True)
    (completion,) = (await target.snapshots(task["id"]))[-1]["results"]
    message = completion["choices"][0]["message"]
    assert not message.get("reasoning_content")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/llm/generations"),
        ("DELETE", "/v1/tasks/task-llm-1-abcdefgh"),
        ("GET", "/v1/there/is/no/such/route"),
    ],
)
async def test_unknown_routes_use_the_envelope(target: "Target", method: str, path: str) -> None:
    """A wrong method or route is a 404 or 405 in the envelope."""
    reply = await target.call(method, path)
    assert reply.status in {404, 405}
    assert reply.error["type"]
