"""A gateway that ends while an upstream is in the middle of many answers."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from foxapi_async import FoxSession, LLMHandle
from foxapi_async._wire.base import encode
from foxapi_async.config import Limits, PollPolicy, RetryPolicy, StreamPolicy
from foxapi_async.errors import TaskFailedError
from tests.gateway.scripted_upstream import DONE, STREAM_HEAD, chunk, scripted_upstream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")

SERVED = Path(__file__).parent / "served.py"
FINISHED, RUNNING, QUEUED = 5, 50, 10


async def start(data: Path, port: int, url: str) -> tuple[asyncio.subprocess.Process, int]:
    """Start the gateway and return its process and its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SERVED), str(data), str(port), "0", url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, int(await process.stdout.readline())


async def outcome(handle: LLMHandle, *, streams: bool) -> str:
    """Wait for the end of a task, by its stream or by polling; return the text or the code."""
    try:
        if streams:
            async with handle.stream() as stream:
                return "".join([delta.text async for delta in stream])
        return (await handle.result()).text
    except TaskFailedError as error:
        return str(error.code)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_an_end_amid_fifty_answers_ends_each_task_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Finished tasks stay, begun ones fail with a code, queued ones run; none is asked twice."""
    is_open = asyncio.Event()
    is_open.set()

    async def script(count: int, writer: asyncio.StreamWriter) -> None:
        del count
        writer.write(STREAM_HEAD + chunk("one "))
        await writer.drain()
        await is_open.wait()
        writer.write(chunk("two", finish="stop") + DONE)

    async with scripted_upstream(script) as upstream:
        process, port = await start(tmp_path / "fox.db", 0, upstream.url)
        session = FoxSession(
            "sk-test",
            base_url=f"http://127.0.0.1:{port}",
            retry=RetryPolicy(attempts=60, initial=0.05, max_delay=0.5),
            polling=PollPolicy(give_up_after=300),
            streaming=StreamPolicy(initial=0.05, max_delay=0.5),
            limits=Limits(streams=100, polls_per_second=None),
        )
        async with session as fox:

            async def submit(count: int) -> list[LLMHandle]:
                return [
                    await fox.llm.submit(model="real", messages="go", stream=True)
                    for _ in range(count)
                ]

            finished = await submit(FINISHED)
            assert {await outcome(handle, streams=True) for handle in finished} == {"one two"}
            before = [encode(await fox.tasks.get(handle.id)) for handle in finished]
            is_open.clear()
            running = await submit(RUNNING)
            # All of them have begun at the upstream.
            for handle in running:
                async with handle.stream() as stream:
                    assert (await anext(stream)).text == "one "
            queued = await submit(QUEUED)
            clients = [
                asyncio.create_task(outcome(handle, streams=position % 2 == 0))
                for position, handle in enumerate((*running, *queued))
            ]
            process.send_signal(number)
            assert await process.wait() == (0 if number == signal.SIGTERM else -number)
            assert len(upstream.requests) == FINISHED + RUNNING
            is_open.set()
            process, _ = await start(tmp_path / "fox.db", port, upstream.url)
            outcomes = await asyncio.gather(*clients)
            assert outcomes == ["service_restarted"] * RUNNING + ["one two"] * QUEUED
            assert [encode(await fox.tasks.get(handle.id)) for handle in finished] == before
            assert len(upstream.requests) == FINISHED + RUNNING + QUEUED
        process.terminate()
        assert await process.wait() == 0
