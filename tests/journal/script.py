"""The script of a user, run again and again and killed in between: a child of the tests here.

Forks for each run that a line on stdin asks for, ``what first last at_once``, so that only the
first one pays for the imports. Tells the pid, then what the run found out, if anything, as an
object, then how it ended: its exit status, or minus a signal, and the most memory that it took.
``rows`` does the rows, each under its key; ``recover`` goes on with all that earlier runs left;
``steady`` does the rows and tells its memory at every hundredth; ``tasks=7`` or ``credits=15`` maps
them within that budget.
"""

import asyncio
import gc
import importlib
import json
import os
import resource
import sys
from typing import Any

from foxapi_async import (
    Budget,
    BudgetExceededError,
    ChatCompletion,
    Exponential,
    FoxSession,
    MediaResults,
    PollPolicy,
    RetryPolicy,
    StreamPolicy,
    TaskHandle,
    Timeouts,
)
from foxapi_async.errors import FoxAPIError

KEY = "sk-secret-0123456789abcdef"
SPEECH = "speech-2.8-hd"
FAST_POLLING = PollPolicy(pacing=Exponential(initial=0.01, multiplier=1.5, max_delay=0.2))
WRONG = 3


def session(url: str, file: str) -> FoxSession:
    """Open a session with short timeouts."""
    return FoxSession(
        KEY,
        base_url=url,
        journal=file,
        polling=FAST_POLLING,
        retry=RetryPolicy(initial=0.01, max_delay=0.05),
        timeouts=Timeouts(read=2, submit=2),
        streaming=StreamPolicy(idle_timeout=2, initial=0.01, max_delay=0.05, give_up_after=10),
    )


def prompt(row: int) -> str:
    """Return what a row asks for: its neighbours ask for something else."""
    return f"row {row}: count 1 to {1 + row % 9}"


def check(key: str | None, text: str) -> None:
    """End the run if this is not the answer to the row of ``key``."""
    last = 1 + int((key or "row-0").removeprefix("row-")) % 9
    if text != ", ".join(map(str, range(1, last + 1))):
        os._exit(WRONG)


def check_speech(results: MediaResults) -> None:
    """End the run if these are not the results of a row."""
    if len(results) != 1 or len(results.urls) != 1:
        os._exit(WRONG)


async def do(fox: FoxSession, row: int) -> None:
    """Do one row in one of the ways that there are; what fails is the next run's concern."""
    key = f"row-{row}"
    try:
        if row % 5 == 3:
            check_speech(await fox.audios.generate(model=SPEECH, prompt=prompt(row), key=key))
            return
        if row % 5 == 1:
            async with fox.llm.stream(model="gpt-5.5", messages=prompt(row), key=key) as stream:
                check(key, "".join([delta.text async for delta in stream]))
            assert stream.handle is not None
            text = (await stream.handle).text
        else:
            model = "kimi-k2.6" if row % 5 == 2 else "gpt-5.5"
            completion = await fox.llm.generate(model=model, messages=prompt(row), key=key)
            text = completion.text
    except FoxAPIError:
        return
    check(key, text)


async def rows(fox: FoxSession, some: range, at_once: int) -> list[int]:
    """Do the rows, so many at once; return the most memory taken at every hundredth."""
    left, peaks = iter(some), list[int]()

    async def worker() -> None:
        for row in left:
            await do(fox, row)
            if row % 100 == 0:
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return peaks


async def recover(fox: FoxSession) -> dict[str, object]:
    """Await the tasks of earlier runs, and print their results."""
    recovery = await fox.recover()

    async def end(handle: TaskHandle[Any]) -> str:
        try:
            result: ChatCompletion | MediaResults = await handle
        except FoxAPIError as error:
            return type(error).__name__
        if isinstance(result, MediaResults):
            check_speech(result)
        else:
            check(handle.key, result.text)
        return "completed"

    ends = await asyncio.gather(*map(end, recovery.handles))
    return {
        "ends": {handle.id: end for handle, end in zip(recovery.handles, ends, strict=True)},
        "unknown": [lost.fingerprint for lost in recovery.unknown],
    }


async def within(fox: FoxSession, budget: str, some: range, at_once: int) -> dict[str, object]:
    """Map the rows until the budget is used up, and tell what it says."""
    unit, limit = budget.split("=")
    mapped = fox.llm.map(
        some,
        model="gpt-5.5",
        messages="count 1 to 3",
        key="row-{}".format,
        in_flight=at_once,
        budget=Budget(**{unit: int(limit)}),
    )
    answers = 0
    try:
        async for outcome in mapped:
            answers += outcome.completion is not None
    except BudgetExceededError as error:
        return {"answers": answers, "unit": error.unit, "used": error.used}
    return {"answers": answers}


async def run(url: str, file: str, what: str, some: range, at_once: int) -> None:
    """Do what the line asks for."""
    async with session(url, file) as fox:
        if what == "recover":
            found: object = await recover(fox)
        elif "=" in what:
            found = await within(fox, what, some, at_once)
        else:
            peaks = await rows(fox, some, at_once)
            found = {"peaks": peaks} if what == "steady" else None
    if found is not None:
        print(json.dumps(found), flush=True)  # noqa: T201 the parent reads it


def serve(url: str, file: str) -> None:
    """Fork for each line until stdin ends."""
    kind = "postgres" if "://" in file else "sqlite"
    importlib.import_module(f"foxapi_async._journal.{kind}_tables")
    gc.freeze()
    for line in sys.stdin:
        what, first, last, at_once = line.split()
        pid = os.fork()
        if not pid:
            asyncio.run(run(url, file, what, range(int(first), int(last)), int(at_once)))
            os._exit(0)
        print(pid, flush=True)  # noqa: T201 the parent reads it
        _, status, usage = os.wait4(pid, 0)
        print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, flush=True)  # noqa: T201 the same


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
