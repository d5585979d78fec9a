"""Laws of forks and of sessions that were not closed: they do no harm."""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import foxapi_async
from foxapi_async._journal import EntryId, Intent, Stage
from foxapi_async._journal.backends import parse_location
from foxapi_async._journal.journal_writer import JournalWriter

INTENT = Intent(service="http://s", key="row-17", model="m", body=b"{}", sent_at=1.0)
# The child ends with its finalizers, as one that leaves by `sys.exit` does.
FORKING = """
import asyncio, atexit, os, sys
from pathlib import Path
from foxapi_async import FoxSession, JournalError
from foxapi_async.gateway import Gateway

KEY = "sk-secret-0123456789abcdef"
PROMPT = {"model": "gpt-5.5", "messages": "count 1 to 3"}

async def submit(fox):
    await fox.llm.submit(**PROMPT)

async def close(fox):
    await fox.aclose()

async def look(fox):
    await fox._service.options.journal.entries()

def be_the_child(fox):
    for use in (submit, look, close, submit):
        try:
            asyncio.run(use(fox))
        except (RuntimeError, JournalError) as error:
            print(type(error).__name__, "forked" in str(error), flush=True)
    atexit._run_exitfuncs()
    os._exit(0)

async def main(file):
    async with Gateway() as gateway, FoxSession(KEY, base_url=gateway.url, journal=file) as fox:
        handle = await fox.llm.submit(**PROMPT)
        pid = os.fork() or be_the_child(fox)
        await asyncio.to_thread(os.waitpid, pid, 0)
        print(len(list(file.parent.glob("tasks.db-run-*"))), "mark", flush=True)
        print((await handle).text, (await fox.llm.generate(**PROMPT)).text, flush=True)
    print([path.name for path in file.parent.iterdir()], flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_fork_raises_and_does_no_harm(tmp_path: Path) -> None:
    """A session that is used in a fork says so, and the one of the parent goes on."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", FORKING, str(tmp_path / "tasks.db")],
        env={**os.environ, "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1])},
        capture_output=True,
        timeout=20,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "RuntimeError True",
        "JournalError True",
        "SessionClosedError False",
        "1 mark",
        "1, 2, 3 1, 2, 3",
        "['tasks.db']",
    ], done.stderr


async def intend(journal: JournalWriter) -> None:
    """Record an intent, and leave the journal open."""
    assert isinstance(await journal.record_intent(INTENT), EntryId)


async def look(file: Path | str) -> Stage:
    """Return the stage that another session reads."""
    journal = JournalWriter(parse_location(file))
    (entry,) = await journal.entries()
    await journal.aclose()
    return entry.stage


def test_a_journal_that_was_not_closed_releases_its_lock(file: Path | str) -> None:
    """What a dropped journal had sent is unknown to others in the same process, at once."""
    dropped = JournalWriter(parse_location(file))
    asyncio.run(intend(dropped))
    assert asyncio.run(look(file)) is Stage.SENT
    del dropped
    gc.collect()
    assert asyncio.run(look(file)) is Stage.UNKNOWN
    if isinstance(file, Path):
        assert list(file.parent.iterdir()) == [file]
