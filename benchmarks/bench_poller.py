"""What does it cost to wait for many tasks at once, next to one sleeping coroutine for each?

Handles in flight in one process, all awaited, all asked for at the same rate whatever their number:
client CPU for each poll, how late the polls start, and the bytes of a handle. The other side makes
the same GETs with aiohttp and msgspec from a coroutine per handle that sleeps in between.
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import process
import report

SCRIPT = Path(__file__)
KEY = "sk-0123456789abcdef0123456789abcdef"
HANDLES = (1_000, 10_000, 100_000)
RATE = 2_000.0
SECONDS = 6.0
AT_A_TIME = 64
BATCH = 10


def ids(number: int) -> list[str]:
    """Return so many task ids."""
    return [f"task-llm-1776874565-{index:08d}" for index in range(number)]


class Even:
    """A pacer that spreads the first polls over the interval, so that the rate is even."""

    def __init__(self, interval: float) -> None:
        self._interval = interval

    def interval(self, context: Any, rand: float) -> float:
        """Return the interval; the first one is random."""
        return self._interval if context.polls else self._interval * rand

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Do nothing: the interval is fixed."""


async def ours(origin: str, handles: int, rate: float) -> dict[str, float]:
    """Await handles that were submitted by this session."""
    from foxapi_async import FoxSession, Limits
    from foxapi_async._client.llm_handle import LLMHandle
    from foxapi_async._client.stats import PollMetrics
    from foxapi_async._wire.task import Task

    limits = Limits(polls_per_second=None, polls_in_flight=AT_A_TIME)
    async with FoxSession(KEY, base_url=origin, limits=limits) as fox:
        service = fox._service  # noqa: SLF001
        service.pacer = Even(handles / rate)
        poller = service.runtime.poller
        late: list[float] = []

        class Noted(PollMetrics):
            """Metrics that keeps how late every GET was."""

            def poll_started(self, late_by: float) -> None:
                late.append(late_by)

        poller.metrics = Noted()
        waits: list[asyncio.Task[Any]] = []
        for name in ids(handles):
            handle = LLMHandle(service, name, task=Task(id=name, status="pending"))
            waits.append(asyncio.create_task(handle.result()))
            if len(waits) % BATCH == 0:
                # Polls that become due while the loop is blocked stay together later too.
                await asyncio.sleep(0)
        await asyncio.sleep(2)
        # What came due meanwhile may still have to be done. Where more is asked for than can be
        # done, it never is.
        for _ in range(30):
            if not poller.queued:
                break
            await asyncio.sleep(0.1)
        late.clear()
        before = process.cpu_seconds()
        await asyncio.sleep(SECONDS)
        spent, gets = process.cpu_seconds() - before, len(late)
        late.sort()
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return {
        "us": spent / gets * 1e6,
        "polls_per_second": gets / SECONDS,
        "late_p50_ms": late[gets // 2] * 1e3,
        "late_p99_ms": late[gets * 99 // 100] * 1e3,
    }


async def coroutines(origin: str, handles: int, rate: float) -> dict[str, float]:
    """Let a coroutine for each task sleep and ask."""
    import aiohttp
    import msgspec

    class Task(msgspec.Struct):
        id: str
        status: str
        results: list[msgspec.Raw] | None = None

    decode = msgspec.json.Decoder(Task).decode
    interval = handles / rate
    gets = 0
    bytes(1 << 19)  # as the SDK does, see foxapi_async._transport.connections
    connector = aiohttp.TCPConnector(limit=AT_A_TIME)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:

        async def follow(name: str) -> None:
            nonlocal gets
            await asyncio.sleep(random.random() * interval)
            while True:
                async with session.get(f"{origin}/v1/tasks/{name}") as response:
                    task = decode(await response.read())
                gets += 1
                if task.status == "completed":
                    return
                await asyncio.sleep(interval)

        waits = [asyncio.create_task(follow(name)) for name in ids(handles)]
        await asyncio.sleep(2)
        before, gets_before = process.cpu_seconds(), gets
        await asyncio.sleep(SECONDS)
        spent, made = process.cpu_seconds() - before, gets - gets_before
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return {"us": spent / made * 1e6, "polls_per_second": made / SECONDS}


async def memory(origin: str, handles: int, _rate: float) -> dict[str, float]:
    """Weigh handles, handles after a submit, and what a waiting task adds."""
    from foxapi_async import FoxSession, Limits
    from foxapi_async._client.llm_handle import LLMHandle
    from foxapi_async._wire.base import encode
    from foxapi_async._wire.task import Task, task_decoder

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    names = ids(handles)
    bodies = [
        encode(Task(id=name, object="llm.generation.task", type="llm", model="m", status="pending"))
        for name in names
    ]
    async with FoxSession(KEY, base_url=origin, limits=Limits(polls_per_second=1)) as fox:
        service = fox._service  # noqa: SLF001
        service.pacer = Even(1000.0)
        tracemalloc.start()
        start = held()
        known = [fox.tasks.handle(name) for name in names]
        handle = held() - start
        del known
        start = held()
        submitted = []
        for body in bodies:
            task = task_decoder.decode(body)
            submitted.append(LLMHandle(service, task.id, task=task))
        submit = held() - start
        start = held()
        waits = [asyncio.create_task(one.result()) for one in submitted]
        await asyncio.sleep(0.1)
        wait = held() - start
        tracemalloc.stop()
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return {"handle": handle / handles, "submit": submit / handles, "wait": wait / handles}


SUBJECTS = {"ours": ours, "coroutines": coroutines, "memory": memory}


def main() -> int:
    """Measure, print, write ``results/poller.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each subject")
    parser.add_argument("--subject", choices=SUBJECTS, help="run one subject against --origin")
    parser.add_argument("--origin")
    parser.add_argument("--handles", type=int)
    parser.add_argument("--rate", type=float, default=RATE)
    options = parser.parse_args()
    if options.subject:
        process.pin(process.CLIENT_CORE)
        run = SUBJECTS[options.subject]
        print(json.dumps(asyncio.run(run(options.origin, options.handles, options.rate))))
        return 0

    with process.serving(SCRIPT.with_name("answers.py")) as origin:

        def subject(name: str, handles: int, rate: float = RATE) -> Any:
            words = ("--handles", str(handles), "--rate", str(rate), "--origin", origin)
            return partial(process.measured, SCRIPT, "--subject", name, *words)

        subjects = {
            f"{name} {handles}": subject(name, handles)
            for handles in HANDLES
            for name in ("ours", "coroutines")
        }
        # More than can be had: how many GETs a second of CPU is worth.
        subjects["ours, all that is possible"] = subject("ours", 10_000, 50_000)
        taken = process.take_turns(subjects, options.rounds)
        bytes_of = subject("memory", HANDLES[-1])()

    us = process.medians(taken, "us")
    late = process.medians({name: taken[name] for name in taken if "ours " in name}, "late_p99_ms")
    first, middle, last = HANDLES
    goals = [
        *(
            report.Goal(
                f"CPU per poll, {handles} handles: ours / coroutines",
                round(us[f"ours {handles}"] / us[f"coroutines {handles}"], 3),
                at_most=0.85,
            )
            for handles in HANDLES
        ),
        report.Goal(
            f"CPU per poll: {last} / {first} handles",
            round(us[f"ours {last}"] / us[f"ours {first}"], 3),
            at_most=1.2,
        ),
        report.Goal("lateness p99, ms", round(late[f"ours {middle}"], 1), at_most=15),
        report.Goal(
            "GETs per second of one core",
            round(1e6 / us["ours, all that is possible"]),
            at_least=9_000,
        ),
        report.Goal("bytes of tasks.handle(id)", round(bytes_of["handle"]), at_most=400),
        report.Goal("bytes after a submit", round(bytes_of["submit"]), at_most=1_000),
        report.Goal("bytes more of a waiting task", round(bytes_of["wait"]), at_most=1_500),
    ]
    head = ("2,000 polls a second", "CPU µs per poll", "lateness p99 ms")
    rows = [(name, f"{us[name]:.0f}", f"{late[name]:.1f}" if name in late else "") for name in us]
    print(report.table(head, rows))
    report.write(
        "poller",
        "Waiting for many tasks: CPU per poll against a coroutine each, lateness, bytes",
        {"rounds": options.rounds, "cpu_us": {name: round(us[name], 1) for name in us}},
        goals=goals,
    )
    report.figures("poller", head, rows)
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
