"""A journal on disk, sessions and scripts that share it, and the books of the service."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import foxapi_async
from foxapi_async import FoxSession, PollPolicy
from foxapi_async._journal import Entry
from foxapi_async._journal.backends import parse_location
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._journal.tables import JournalTables
from foxapi_async.gateway import Gateway
from tests.bill import Bill

KEY = "sk-secret-0123456789abcdef"
SCRIPT = Path(__file__).with_name("script.py")

Open = Callable[..., FoxSession]


@pytest.fixture
def file(tmp_path: Path, database: str | None) -> Path | str:
    """Return where the journal is: a file, or the URL of a database."""
    return database or tmp_path / "tâches 任务.db"


@pytest.fixture
def open_fox(gateway: Gateway, file: Path | str, fast_polling: PollPolicy) -> Open:
    """Return what opens a session with the journal; other options as it takes them."""

    def make(**options: object) -> FoxSession:
        settings: dict[str, object] = {
            "base_url": gateway.url,
            "journal": file,
            "polling": fast_polling,
        }
        settings["api_key"] = KEY
        return FoxSession(**(settings | options))  # type: ignore[arg-type]

    return make


class Script:
    """The user's script, as a process that can be run again."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.found: dict[str, Any] = {}
        self.memory: list[int] = []

    async def start(self, first: int, last: int, at_once: int = 10, what: str = "rows") -> int:
        """Run it for some rows and return its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what} {first} {last} {at_once}\n".encode())
        return int(await self._line())

    async def end(self) -> int:
        """Return how the run ended; ``found`` is what it found out, ``memory`` what runs took."""
        line = await self._line()
        if line.startswith(b"{"):
            self.found = msgspec.json.decode(line)
            line = await self._line()
        status, memory = map(int, line.split())
        self.memory.append(memory)
        return status

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


@asynccontextmanager
async def _scripted(url: str, file: Path | str) -> AsyncGenerator[Script, None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-W", "error", str(SCRIPT), url, str(file)),
        env={**os.environ, "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1])},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**22,
    )
    try:
        yield Script(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@pytest.fixture
def bill() -> Bill:
    """Keep the books of a gateway."""
    return Bill()


@pytest.fixture
def scripted() -> Callable[[str, Path | str], AbstractAsyncContextManager[Script]]:
    """Return what starts the process that runs the script, for a URL and a journal."""
    return _scripted


async def _set(fox: Any, text: str) -> None:
    committer = fox._service.options.journal._committer
    done = asyncio.get_running_loop().create_future()

    def execute(tables: JournalTables) -> None:
        tables.connection.exec_driver_sql(text).close()
        tables.connection.commit()

    committer._thread.submit(execute, done.set_result)
    await done


@pytest.fixture
def set_pragma() -> Callable[[Any, str], Awaitable[None]]:
    """Return what sets a pragma of a session's own connection."""
    return lambda fox, text: _set(fox, f"PRAGMA {text}")


@pytest.fixture
def set_read_only(database: str | None) -> Callable[..., Awaitable[None]]:
    """Return what lets a session's own connection write no more, or again."""

    def set_it(fox: Any, *, on: bool) -> Awaitable[None]:
        setting = "PRAGMA query_only" if database is None else "SET default_transaction_read_only"
        return _set(fox, f"{setting} = {int(on)}")

    return set_it


async def _written(file: Path | str) -> list[Entry]:
    journal = JournalWriter(parse_location(file), create=False)
    try:
        return await journal.entries()
    finally:
        await journal.aclose()


@pytest.fixture
def written() -> Callable[[Path | str], Awaitable[list[Entry]]]:
    """Return what reads the journal as another process would."""
    return _written
