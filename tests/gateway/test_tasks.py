"""The life of a task as a query shows it (contract §4)."""

from typing import TYPE_CHECKING

import pytest

from foxapi_async._clock import ManualClock

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service


@pytest.mark.parametrize("stream", [False, True])
async def test_a_task_goes_forward_only(serve: "Serve", *, stream: bool) -> None:
    """A task is pending, then processing with growing progress, then completed at 100."""
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=10, token_delay=1)
    task = await service.submit("count 1 to 20", stream=stream)
    seen = [task]
    while seen[-1]["status"] != "completed":
        await clock.advance(1)
        seen.append(await service.task(task["id"]))
    states = [item["status"] for item in seen]
    assert states == sorted(states, key=["pending", "processing", "completed"].index)
    assert states.count("pending") == 10
    assert states.count("processing") >= 19
    progress = [item["progress"] for item in seen]
    assert progress == sorted(progress)
    assert len(set(progress)) >= 10
    assert all(item["results"] is None for item in seen[:-1])
    assert all((item["progress"] == 100) == (item["status"] == "completed") for item in seen)
    changing = {"status": None, "progress": None, "results": None}
    assert all(item | changing == task | changing for item in seen)


async def test_a_completed_task_holds_one_completion(service: "Service") -> None:
    """``results`` of a completed task is one complete ChatCompletion."""
    task = await service.finished((await service.submit("count 1 to 3"))["id"])
    assert len(task) == 11
    assert task["error"] is None
    (completion,) = task["results"]
    assert completion == {
        "id": completion["id"],
        "object": "chat.completion",
        "created": task["created"],
        "model": "gpt-5.5",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "1, 2, 3"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7},
    }


async def test_a_failed_task_has_an_error(service: "Service") -> None:
    """A failed task has no results and an error with exactly code, message and type."""
    task = await service.submit("please [[fail:content_policy_violation]] now")
    task = await service.finished(task["id"])
    assert (task["status"], task["results"]) == ("failed", None)
    assert task["error"] == {
        "code": "content_policy_violation",
        "message": "the prompt was refused by moderation",
        "type": "task_error",
    }
    assert service.gateway.stats.failed == 1


async def test_a_model_that_crashes_fails_its_task(
    service: "Service", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in a simulated model fails the task and ends its stream."""

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("foxapi_async.gateway.models.simulated_model.simulate", crash)
    task = await service.submit(stream=True)
    assert b"event: error" in (await service.stream(task["id"])).body
    assert (await service.task(task["id"]))["error"]["code"] == "generation_failed"
    assert "no such luck" in caplog.text


@pytest.mark.parametrize("task_id", ["task-llm-1-abcdefgh", "x", "..%2f..", "%00", "a" * 300])
async def test_an_unknown_task_is_not_found(service: "Service", task_id: str) -> None:
    """A task that was never created is a 404, whatever its id."""
    reply = await service.call("GET", f"/v1/tasks/{task_id}")
    assert reply.status == 404
    assert reply.json["error"]["type"] == "not_found"


async def test_sync_upstream_is_a_boolean(service: "Service") -> None:
    """``sync_upstream`` may be true or false and has no effect; another value is a 422."""
    task = await service.finished((await service.submit())["id"])
    for value in ("true", "false"):
        reply = await service.call("GET", f"/v1/tasks/{task['id']}?sync_upstream={value}")
        assert reply.json == task
    reply = await service.call("GET", f"/v1/tasks/{task['id']}?sync_upstream=maybe")
    assert (reply.status, reply.json["error"]["param"]) == (422, "sync_upstream")


async def test_a_finished_task_is_kept_for_its_retention(serve: "Serve") -> None:
    """A task can be queried for its retention, which begins at its end."""
    clock = ManualClock()
    service = await serve(clock=clock, task_retention=100, queue_delay=50)
    task = await service.submit()
    await clock.advance(50)
    await clock.advance(99)
    assert (await service.task(task["id"]))["status"] == "completed"
    await clock.advance(1)
    assert (await service.call("GET", f"/v1/tasks/{task['id']}")).status == 404


async def test_polls_are_counted(service: "Service") -> None:
    """Every query of a task is counted, found or not."""
    task = await service.submit()
    await service.task(task["id"])
    await service.call("GET", "/v1/tasks/unknown")
    assert service.gateway.stats.polls == 2
