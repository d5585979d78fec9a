"""One job of ``bench_compare.py`` in the Python of one wheel: ``compare_client.py JOB ORIGIN``.

Prints the client's CPU microseconds for each unit of the job. Settings are named by either of the
two wheels: one of them may be older than a renaming.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any, Final

import process

from foxapi_async import Exponential, FoxSession, Limits, PollPolicy

KEY: Final = "sk-0123456789abcdef0123456789abcdef"
OLDER_NAMES: Final = {
    "initial": "first",
    "multiplier": "factor",
    "max_delay": "cap",
    "polls_per_second": "gets_per_second",
}
LOOKS: Final = 40


def build(kind: Any, **values: object) -> Any:
    """Build a policy, by the names that its class has."""
    known = kind.__struct_fields__
    return kind(
        **{name if name in known else OLDER_NAMES[name]: value for name, value in values.items()}
    )


def session(origin: str, pause: float, **options: Any) -> FoxSession:
    """Return a session that polls each task every ``pause`` seconds, without a rate limit."""
    pacing = build(Exponential, initial=pause, multiplier=1.0, max_delay=pause, jitter=0.0)
    return FoxSession(
        KEY,
        base_url=origin,
        polling=PollPolicy(pacing=pacing),
        limits=build(Limits, polls_per_second=None),
        **options,
    )


async def repeat(once: Callable[[], Awaitable[object]], count: int, at_once: int) -> None:
    """Run ``once`` so many times, ``at_once`` at a time."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await once()

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def generate(origin: str, count: int, at_once: int, pause: float, **options: Any) -> float:
    """Return the CPU microseconds of one generation, from submit to result."""
    async with session(origin, pause, **options) as fox:

        async def once() -> None:
            completion = await fox.llm.generate(model="gpt-5.5", messages="count 1 to 3")
            if completion.text != "1, 2, 3":
                raise RuntimeError(f"another answer was expected: {completion.text!r}")

        await repeat(once, count // 5, at_once)
        before = process.cpu_seconds()
        await repeat(once, count, at_once)
        return (process.cpu_seconds() - before) / count * 1e6


async def task(origin: str) -> float:
    """Measure a whole task: one POST and three GETs."""
    return await generate(origin, 3000, 50, 0.01)


async def poll(origin: str) -> float:
    """Measure a poll: tasks that take forty each, so that a poll is nearly all of the cost."""
    return await generate(origin, 300, 100, 0.01) / LOOKS


async def journal(origin: str) -> float:
    """Measure a task that a journal writes down."""
    with tempfile.TemporaryDirectory() as folder:
        return await generate(origin, 600, 10, 0.01, journal=f"{folder}/tasks.db")


JOBS: Final = {"task": task, "poll": poll, "journal": journal}


def main() -> None:
    """Measure on a core of its own."""
    process.pin(process.CLIENT_CORE)
    job, origin = sys.argv[1:]
    print(json.dumps({"us": asyncio.run(JOBS[job](origin))}))


if __name__ == "__main__":
    main()
