"""What is said where a task cannot be found, or nobody answers."""

import asyncio
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from foxapi_async.gateway import Gateway

ID = "task-llm-1-abcdefgh"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make an address the service at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("FOXAPI_BASE_URL", url)
        monkeypatch.setenv("FOXAPI_API_KEY", "sk-secret-key-of-the-test")
        yield url


@pytest.mark.parametrize("words", [("task", ID), ("wait", ID), ("stream", "--task", ID)])
async def test_an_unknown_id_has_one_meaning(
    gateway: Gateway, foxapi: Any, words: tuple[str, ...]
) -> None:
    """Whoever names a task that the service does not know is told to check the id, with 2."""
    done = await foxapi(*words)
    assert done.code == 2, done
    assert "check the id" in done.err
    assert "later" not in done.err
    assert gateway.stats.submits == 0


async def test_a_wait_at_a_dead_address_says_so(nobody: str, foxapi: Any) -> None:
    """The fault is told at once and again in the error, and nobody is told that a task goes on."""
    done = await foxapi("wait", ID, "--timeout", "0.5")
    assert done.code == 124, done
    first, *others = done.err.splitlines()
    assert nobody in first
    assert "FOXAPI_BASE_URL" in first
    assert "the task goes on" not in "\n".join(others)
    [record] = done.records
    assert record["error"]["type"] == "TaskTimeoutError"
    assert nobody.rpartition(":")[2] in record["error"]["message"]


async def test_a_stream_at_a_dead_address_says_so(
    nobody: str, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    """Whoever follows a task hears at once that nobody answers, long before patience ends."""

    def hear() -> list[str]:
        with spawn("stream", "--task", ID) as process:
            assert process.stderr is not None
            lines = [process.stderr.readline() for _ in range(2)]
            process.kill()
        return lines

    told = await asyncio.to_thread(hear)
    assert told[0] == f"{ID}\n"
    assert nobody in told[1]
    assert "FOXAPI_BASE_URL" in told[1]


async def test_no_patience_is_one_look(gateway: Gateway, foxapi: Any) -> None:
    """``--timeout 0`` looks once: a finished task is shown, at another the wait has run out."""
    [task] = (await foxapi("submit", "gpt-5.5", "count 1 to 3", "--wait")).records
    done = await foxapi("wait", task["id"], "--timeout", "0")
    assert (done.code, done.records[0]["text"]) == (0, "1, 2, 3")
    assert gateway.stats.tasks == 1
