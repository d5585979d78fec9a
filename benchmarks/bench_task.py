"""What does one task cost the client's CPU, from submit to result, next to doing it by hand?

One POST and three GETs, 50 tasks at a time: this SDK with all its safety, the shortest correct loop
over aiohttp and msgspec, fal-client and replicate. Each subject runs in a process of its own.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median

import process
import report

SCRIPT = Path(__file__)
KEY = "sk-0123456789abcdef0123456789abcdef"
AT_A_TIME = 50
PAUSE = 0.01
BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
TASKS = {"ours": 3000, "by hand": 3000, "replicate": 400, "fal": 400}

Once = Callable[[], Awaitable[object]]


async def run(once: Once, tasks: int) -> None:
    """Run so many tasks, 50 at a time."""
    left = iter(range(tasks))

    async def worker() -> None:
        for _ in left:
            await once()

    await asyncio.gather(*(worker() for _ in range(AT_A_TIME)))


async def measure(once: Once, tasks: int) -> float:
    """Return the microseconds of CPU for each task, after a warm-up."""
    await run(once, tasks // 5)
    before = process.cpu_seconds()
    await run(once, tasks)
    return (process.cpu_seconds() - before) / tasks * 1e6


async def ours(origin: str, tasks: int) -> float:
    """Submit and await by this SDK, nothing switched off but the ceiling on GETs."""
    from foxapi_async import Exponential, FoxSession, Limits, PollPolicy

    pacing = Exponential(initial=PAUSE, multiplier=1, max_delay=PAUSE, jitter=0)
    async with FoxSession(
        KEY,
        base_url=origin,
        polling=PollPolicy(pacing=pacing),
        limits=Limits(polls_per_second=None),
    ) as fox:

        async def once() -> None:
            handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
            if (await handle).text != "1, 2, 3":
                raise RuntimeError("another answer was expected")

        return await measure(once, tasks)


async def by_hand(origin: str, tasks: int) -> float:
    """Write the shortest loop that is right: typed decoding, one session, nothing else."""
    import aiohttp
    import msgspec

    class Message(msgspec.Struct):
        content: str

    class Choice(msgspec.Struct):
        message: Message

    class Completion(msgspec.Struct):
        choices: list[Choice]

    class Task(msgspec.Struct):
        id: str
        status: str
        results: list[Completion] | None = None

    decode = msgspec.json.Decoder(Task).decode
    encode = msgspec.json.Encoder().encode
    headers = {"Authorization": f"Bearer {KEY}"}
    # The mmap threshold of malloc, see foxapi_async._transport.connections: the same for both.
    bytes(1 << 19)
    async with aiohttp.ClientSession(headers=headers) as session:

        async def once() -> None:
            content = {"Content-Type": "application/json"}
            url = f"{origin}/v1/llm/generations"
            async with session.post(url, data=encode(BODY), headers=content) as response:
                task = decode(await response.read())
            while task.status not in {"completed", "failed"}:
                await asyncio.sleep(PAUSE)
                async with session.get(f"{origin}/v1/tasks/{task.id}") as response:
                    task = decode(await response.read())
            if not task.results or task.results[0].choices[0].message.content != "1, 2, 3":
                raise RuntimeError("another answer was expected")

        return await measure(once, tasks)


async def replicate(origin: str, tasks: int) -> float:
    """Create a prediction and wait for it, as replicate's README does."""
    from replicate.client import Client

    client = Client(api_token=KEY, base_url=origin)
    client.poll_interval = PAUSE

    async def once() -> None:
        prediction = await client.predictions.async_create(
            version="v" * 64, input={"prompt": "count 1 to 3"}
        )
        await prediction.async_wait()

    return await measure(once, tasks)


async def fal(origin: str, tasks: int) -> float:
    """Submit to the queue and get the result, as fal's README does."""
    from fal_client import AsyncClient, client

    # Its environment can name another host, but not http: without TLS it is spared some work.
    client.QUEUE_URL_FORMAT = f"{origin}/fal/"
    own = AsyncClient(key=KEY)

    async def once() -> None:
        handle = await own.submit("a/b", arguments={"prompt": "count 1 to 3"})
        await handle.get(interval=PAUSE)

    return await measure(once, tasks)


SUBJECTS = {"ours": ours, "by hand": by_hand, "replicate": replicate, "fal": fal}


def main() -> int:
    """Measure, print, write ``results/task.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each subject")
    parser.add_argument("--subject", choices=SUBJECTS, help="run one subject against --origin")
    parser.add_argument("--origin")
    options = parser.parse_args()
    if options.subject:
        process.pin(process.CLIENT_CORE)
        spent = asyncio.run(SUBJECTS[options.subject](options.origin, TASKS[options.subject]))
        print(json.dumps({"us": spent}))
        return 0

    with process.serving(SCRIPT.with_name("answers.py"), "--looks", "3") as origin:
        taken = process.take_turns(
            {
                name: partial(process.measured, SCRIPT, "--subject", name, "--origin", origin)
                for name in SUBJECTS
            },
            options.rounds,
        )
    cost = process.medians(taken, "us")
    # Ratios are of the same round: what disturbs the machine disturbs both.
    ratio = {
        name: median(turn["us"] / own["us"] for turn, own in zip(turns, taken["ours"], strict=True))
        for name, turns in taken.items()
    }
    head = ("one task: 1 POST, 3 GETs", "CPU µs", "times ours")
    rows = [(name, f"{cost[name]:.0f}", f"{ratio[name]:.2f}") for name in SUBJECTS]
    print(report.table(head, rows))
    goals = [
        report.Goal("ours / by hand", round(1 / ratio["by hand"], 3), at_most=1.0),
        report.Goal("fal / ours", round(ratio["fal"], 2), at_least=15),
        report.Goal("replicate / ours", round(ratio["replicate"], 2), at_least=12),
    ]
    report.write(
        "task",
        "Client CPU of a whole task: one POST and three GETs, 50 tasks at a time",
        {
            "rounds": options.rounds,
            "cpu_us": {name: round(value, 1) for name, value in cost.items()},
        },
        goals=goals,
    )
    report.figures("task", head, rows)
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
