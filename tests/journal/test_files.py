"""Laws of the file: what is opened as a journal, and how its tables grow up."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, select

from foxapi_async import ConfigError, FoxSession, JournalError
from foxapi_async._journal import make_journal
from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.process_lock import ProcessLock, is_alive, remove_stale
from foxapi_async._journal.schema import STEPS, SUBMISSIONS, VERSION, migrate
from foxapi_async.journal import open_journal
from foxapi_async.testing import ManualClock

pytestmark = pytest.mark.sqlite_only


@pytest.mark.parametrize(
    ("journal", "path", "synchronous"),
    [
        ("tasks.db", "tasks.db", "normal"),
        ("tasks.db?synchronous=full", "tasks.db", "full"),
        (Path("tâches?.db"), "tâches?.db", "normal"),
        ("sqlite:///tasks.db", "tasks.db", "normal"),
        ("sqlite+aiosqlite:////var/tasks.db?synchronous=full", "/var/tasks.db", "full"),
    ],
)
def test_a_journal_is_named_by_a_path_or_a_url(journal: Any, path: str, synchronous: str) -> None:
    """A path, a path with a query, and SQLAlchemy's URL name a file."""
    location = JournalURL.parse(journal)
    assert (location.path, location.synchronous) == (path, synchronous)


@pytest.mark.parametrize(
    "journal",
    [
        "",
        ":memory:",
        "sqlite://",
        "mysql://h/d",
        "t.db?sync=1",
        "t.db?synchronous=off",
        7,
        b"t",
    ],
)
def test_what_names_no_file_is_refused(journal: Any) -> None:
    """What cannot be a journal is refused when the session is built, by the setting's name."""
    with pytest.raises(ConfigError, match="journal="):
        FoxSession("sk-local", journal=journal)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error says what to install."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"foxapi-async\[journal\]"):
        make_journal("tasks.db", ManualClock())


async def test_a_missing_extra_is_named_by_the_door_too(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """``open_journal`` without the extra says what to install."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"foxapi-async\[journal\]"):
        async with open_journal(file):
            pass


LATE = """
import asyncio, sys, threading

from foxapi_async import FoxSession
from foxapi_async.gateway import Gateway
from foxapi_async.journal import open_journal

loaded_by = set()


def note(event, arguments):
    if event == "import" and arguments[0].partition(".")[0] == "sqlalchemy":
        loaded_by.add(threading.current_thread() is threading.main_thread())


async def main(file, way):
    sys.addaudithook(note)
    async with Gateway() as gateway:
        if way == "door":
            try:
                async with open_journal(file):
                    pass
            except Exception as error:
                print(type(error).__name__)
            print(loaded_by)
            return
        fox = FoxSession("sk-secret-0123456789abcdef", base_url=gateway.url, journal=file)
        assert "sqlalchemy" not in sys.modules
        async with fox:
            handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", key="row-1")
            text = (await handle).text
        other = FoxSession("sk-other-0123456789abcdef", base_url=gateway.url, journal=file)
        async with other:
            (again,) = (await other.recover(finished=True)).handles
            assert again.key == "row-1"
            assert (await again).text == text
        print(loaded_by)


asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("way", "output"), [("session", ["{False}"]), ("door", ["JournalError", "{False}"])]
)
def test_a_loop_does_not_wait_for_what_a_journal_loads(
    tmp_path: Path, way: str, output: list[str]
) -> None:
    """The first journal of a process loads its libraries in a thread when a loop is running."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LATE, str(tmp_path / "tasks.db"), way],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.splitlines() == output, done.stderr


def foreign(path: Path) -> None:
    """Make another program's database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


def newer(path: Path) -> None:
    """Make a journal of the future."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE foxapi_journal (version INTEGER)")
        connection.execute("INSERT INTO foxapi_journal VALUES (99)")
        connection.commit()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (foreign, "another program's"),
        (newer, "newer foxapi-async"),
        (lambda path: path.write_bytes(b"a picture " * 500), "not a database"),
        (lambda path: path.mkdir(), "is a folder: name a file"),
        (os.mkfifo, "is no file: name one"),
    ],
)
async def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, make: Any, why: str) -> None:
    """Opening a file of another kind raises an error with its path, and does not change it."""
    path = tmp_path / "tasks.db"
    await asyncio.to_thread(make, path)
    before = await asyncio.to_thread(lambda: path.is_file() and path.read_bytes())
    with pytest.raises(JournalError, match=why) as caught:
        async with FoxSession("sk-local", journal=path):
            pass
    assert str(path) in str(caught.value)
    if before and why == "not a database":
        assert await asyncio.to_thread(path.read_bytes) == before


@pytest.mark.parametrize("folder", ["no", "file", "x" * 300])
async def test_a_missing_folder_of_the_journal_is_reported(tmp_path: Path, folder: str) -> None:
    """A journal makes no folders, and says which one is missing."""
    await asyncio.to_thread((tmp_path / "file").touch)
    why = "name is too long" if len(folder) > 255 else f"no folder .*{folder}; make it first"
    with pytest.raises(JournalError, match=f"cannot be made: .*{why}"):
        async with FoxSession("sk-local", journal=tmp_path / folder / "tasks.db"):
            pass


@contextmanager
def powerless() -> Iterator[None]:
    """Run the block as an unprivileged user, because file modes do not restrict root."""
    if os.getuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def make_journal_file(path: Path) -> None:
    """Make an empty journal, as a session does."""

    async def use() -> None:
        async with FoxSession("sk-local", journal=path):
            pass

    asyncio.run(use())


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "why"),
    [
        (0o444, 0o555, "read-only: give this process the right|cannot be opened: give"),
        (0o444, 0o777, "read-only: give this process the right to write to the file"),
        (0o000, 0o777, "cannot be opened: give this process the right to read"),
        (0o666, 0o555, "read-only: give this process the right to write to .* its folder"),
        (None, 0o555, "may not write to the folder .*; give it the right to, or name a file"),
        (None, 0o000, "may not write to the folder .*; give it the right to, or name a file"),
    ],
)
def test_rights_that_are_missing_are_named(
    file_mode: int | None, folder_mode: int, why: str
) -> None:
    """A journal that this process may not write to is refused at the opening, with the fix."""
    # Not pytest's own folder, which only its owner may enter.
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        path = Path(place, "folder", "tasks.db")
        path.parent.mkdir()
        if file_mode is not None:
            make_journal_file(path)
            path.chmod(file_mode)
        path.parent.chmod(folder_mode)
        try:
            with powerless(), pytest.raises(JournalError, match=why) as caught:
                make_journal_file(path)
        finally:
            path.parent.chmod(0o755)
        assert str(path) in str(caught.value)


def add_a_column(connection: Connection) -> None:
    """Take a step that no version has yet."""
    connection.exec_driver_sql("ALTER TABLE foxapi_submissions ADD COLUMN note TEXT")


def test_tables_grow_up_with_their_rows(tmp_path: Path) -> None:
    """A step is taken once, keeps the rows, and a failing one leaves the old version whole."""
    engine = create_engine(f"sqlite:///{tmp_path / 'tasks.db'}")
    row: dict[str, Any] = dict.fromkeys((column.name for column in SUBMISSIONS.c), None)
    row |= {"run": "r", "number": 1, "service": "s", "kind": "llm", "model": "m"}
    row |= {"fingerprint": "f", "stage": "sent", "sent_at": 1.0}
    row |= {"streamed": False, "stream_was_cut": False}
    with engine.begin() as connection:
        migrate(connection)
        connection.execute(SUBMISSIONS.insert().values(row))

    def fail(connection: Connection) -> None:
        add_a_column(connection)
        raise RuntimeError

    with pytest.raises(RuntimeError), engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        migrate(connection, (*STEPS, fail))
    for _ in range(2):
        with engine.begin() as connection:
            migrate(connection, (*STEPS, add_a_column))
    with engine.begin() as connection:
        assert connection.scalar(select(VERSION.c.version)) == len(STEPS) + 1
        assert dict(connection.execute(select(SUBMISSIONS)).mappings().one()) == row
        assert connection.exec_driver_sql("SELECT note FROM foxapi_submissions").all() == [(None,)]
    engine.dispose()


def test_a_run_lives_until_it_ends(tmp_path: Path) -> None:
    """An open journal counts as alive for every process, and its lock file is not removed."""
    journal = str(tmp_path / "tasks [1].db")
    run = ProcessLock(journal)
    dead = tmp_path / "tasks [1].db-run-0123456789"
    dead.touch()
    assert is_alive(journal, run.name)
    assert not is_alive(journal, "0123456789")
    remove_stale(journal)
    assert is_alive(journal, run.name)
    assert not dead.exists()
    run.end()
    assert not is_alive(journal, run.name)
    assert list(tmp_path.iterdir()) == []
