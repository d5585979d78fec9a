"""What a service throws back of the key is in no error, event, log or file."""

import asyncio
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async import FoxSession, RetryPolicy, StreamPolicy
from foxapi_async.errors import StreamInterruptedError, TaskFailedError
from foxapi_async.hooks import Event
from foxapi_async.testing import CannedResponse, FaultProxy

if TYPE_CHECKING:
    from foxapi_async import PollPolicy

KEY = "sk-f0xAb9Zq7LmN2pR5tUv8WyXc3DeG6hJ1kQs4oT7vB9nM2xY5z"
ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)
TASK = "task-llm-1-aaaaaaaa"


def answer(members: dict[str, Any], escaped: str = "") -> CannedResponse:
    """Return a 200 with a task; ``@@`` in it becomes the key as JSON may escape it."""
    body = json.dumps({"id": TASK, "model": "gpt-5.5", **members}).replace("@@", escaped or ESCAPED)
    return CannedResponse.http(200, body.encode(), content_type="application/json")


def event(name: str, data: str) -> CannedResponse:
    """Return a stream of one event that ends."""
    return CannedResponse.http(
        200, f"event: {name}\ndata: {data}\n\n".encode(), content_type="text/event-stream"
    )


ENDS = {
    "an error event cut in the key": event("error", json.dumps({"message": "x" * 370 + KEY})),
    "a text cut in the key": event("error", "x" * 350 + KEY + "y" * 99),
    "an escaped error event": event("error", f'{{"error":{{"message":"{ESCAPED}"}}}}'),
    "no chunk": event("chunk", '{"choices": 5, "id": "' + "x" * 370 + KEY + '"'),
    "an error object in a chunk": event("chunk", f'{{"error":{{"message":"{ESCAPED}"}}}}'),
}


def shown(text: str) -> list[str]:
    """Return what a text shows of the key, eight characters in a row or more."""
    return [KEY[at : at + 8] for at in range(len(KEY) - 7) if KEY[at : at + 8] in text]


def error_texts(error: BaseException | None) -> str:
    """Return all that an error and what is behind it say."""
    if error is None:
        return ""
    return (
        f"{error} {error!r} {vars(error)} "
        + error_texts(error.__cause__)
        + error_texts(error.__context__)
    )


def read_all(folder: Path) -> str:
    """Return all that the files of a folder hold."""
    return b"".join(path.read_bytes() for path in folder.iterdir()).decode(errors="replace")


@pytest.mark.parametrize("end", ENDS)
async def test_a_key_that_comes_back_is_shown_nowhere(
    fault_proxy: FaultProxy,
    fast_polling: "PollPolicy",
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    end: str,
) -> None:
    """Not by a stream that breaks, nor by the task that failed after it, nor by the journal."""
    caplog.set_level(logging.DEBUG, "foxapi_async")
    events: list[Event] = []
    failed = {
        "status": "failed",
        "error": {"message": f"{'x' * 990} @@ {KEY[:-1]}", "code": "x"},
        "results": [{"echo": "@@", "of": KEY}],
    }
    pending = {"status": "pending", "stream": {"url": f"/v1/llm/generations/{TASK}/stream"}}
    fault_proxy.on("POST", "*", answer(pending))
    fault_proxy.on("GET", "/v1/llm/generations/*/stream", ENDS[end])
    fault_proxy.on("GET", "/v1/tasks/*", CannedResponse.http(503))
    file = tmp_path / "tasks.db"
    async with FoxSession(
        KEY,
        base_url=fault_proxy.url,
        journal=file,
        polling=fast_polling,
        retry=RetryPolicy(attempts=1),
        streaming=StreamPolicy(initial=0.001, max_delay=0.002, give_up_after=0.01),
        hooks=[events.append],
    ) as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages="hello", stream=True)
        with pytest.raises(StreamInterruptedError) as broken:
            async with handle.stream() as stream:
                async for _ in stream:
                    pass
        fault_proxy.clear()
        fault_proxy.on("GET", "/v1/tasks/*", answer(failed))
        with pytest.raises(TaskFailedError) as lost:
            await handle
    for error in (broken.value, lost.value):
        assert not shown(error_texts(error).replace(str(handle.task), ""))
    assert not shown(repr(events))
    assert not shown(caplog.text)
    assert "sk-f…xY5z" in str(lost.value)
    written = await asyncio.to_thread(read_all, tmp_path)
    assert TASK in written
    assert not shown(written)
    assert ESCAPED not in written
