"""Laws of the messages for an unknown task and for an unreachable service."""

import asyncio
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from foxapi_async.gateway import Gateway

ID = "task-llm-1-abcdefgh"


@pytest.fixture
def dead_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Use an address without a listener as the base URL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("FOXAPI_BASE_URL", url)
        monkeypatch.setenv("FOXAPI_API_KEY", "sk-secret-key-of-the-test")
        yield url


@pytest.mark.parametrize(
    "words",
    [
        ("task", ID),
        ("wait", ID),
        ("wait", "--timeout", "0", ID),
        ("wait", "--timeout", "0.2", ID),
        ("stream", "--task", ID),
    ],
)
async def test_an_unknown_id_has_one_meaning(
    gateway: Gateway, foxapi: Any, words: tuple[str, ...]
) -> None:
    """An unknown task id is an error with exit code 2 and the advice to check the id."""
    done = await foxapi(*words)
    assert done.code == 2, done
    assert "check the id" in done.err
    assert "later" not in done.err
    assert gateway.stats.submits == 0


async def test_a_wait_at_a_dead_address_says_so(dead_address: str, foxapi: Any) -> None:
    """The error is printed at once and at the end, without the advice for a running task."""
    done = await foxapi("wait", ID, "--timeout", "0.5")
    assert done.code == 124, done
    first, *others = done.err.splitlines()
    assert dead_address in first
    assert "FOXAPI_BASE_URL" in first
    assert "the task goes on" not in "\n".join(others)
    [record] = done.records
    assert record["error"]["type"] == "TaskTimeoutError"
    assert dead_address.rpartition(":")[2] in record["error"]["message"]


async def test_a_stream_at_a_dead_address_says_so(
    dead_address: str, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    """Following a task prints at once that the service is unreachable."""

    def first_lines() -> list[str]:
        with spawn("stream", "--task", ID) as process:
            assert process.stderr is not None
            lines = [process.stderr.readline() for _ in range(2)]
            process.kill()
        return lines

    lines = await asyncio.to_thread(first_lines)
    assert lines[0] == f"{ID}\n"
    assert dead_address in lines[1]
    assert "FOXAPI_BASE_URL" in lines[1]


async def test_a_timeout_of_zero_polls_once(gateway: Gateway, foxapi: Any) -> None:
    """``--timeout 0`` polls once: a finished task is shown, any other is a timeout."""
    [task] = (await foxapi("submit", "gpt-5.5", "count 1 to 3", "--wait")).records
    done = await foxapi("wait", task["id"], "--timeout", "0")
    assert (done.code, done.records[0]["text"]) == (0, "1, 2, 3")
    assert gateway.stats.tasks == 1
