"""The script of a user, run again and again and killed in between: a child of ``test_kills.py``.

Forks for each run that a line on stdin asks for, ``first last at_once``, so that only the first one
pays for the imports. Tells the pid, then how the run ended: its exit status, or minus a signal.
"""

import asyncio
import gc
import importlib
import os
import sys
from pathlib import Path

from foxapi_async import Exponential, FoxSession, PollPolicy, RetryPolicy
from foxapi_async.errors import FoxAPIError

KEY = "sk-secret-0123456789abcdef"
QUICK = PollPolicy(pacing=Exponential(first=0.01, factor=1.5, cap=0.2))


async def run(url: str, file: str, rows: range, at_once: int) -> None:
    """Do the rows, each under its key; what fails now is the next run's concern."""
    retry = RetryPolicy(first=0.01, cap=0.05)
    async with FoxSession(KEY, base_url=url, journal=file, polling=QUICK, retry=retry) as fox:
        room = asyncio.Semaphore(at_once)

        async def do(row: int) -> None:
            async with room:
                try:
                    completion = await fox.llm.generate(
                        model="gpt-5.5", messages=f"row {row}: count 1 to 3", key=f"row-{row}"
                    )
                except FoxAPIError:
                    return
                if completion.text != "1, 2, 3":
                    os._exit(3)

        await asyncio.gather(*map(do, rows))


def serve(url: str, file: str) -> None:
    """Fork for each line until stdin ends."""
    importlib.import_module("foxapi_async._journal.journal")
    gc.freeze()
    for line in sys.stdin:
        first, last, at_once = map(int, line.split())
        pid = os.fork()
        if not pid:
            asyncio.run(run(url, file, range(first, last), at_once))
            os._exit(0)
        print(pid, flush=True)  # noqa: T201 the parent reads it
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 the same


if __name__ == "__main__":
    serve(sys.argv[1], str(Path(sys.argv[2])))
