"""A journal in an SQLite file. Everything here runs in the thread of the database."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from foxapi_async._journal import statements
from foxapi_async._journal.counted_claims import is_free, name_of
from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.operations import Claim, Values
from foxapi_async._journal.process_lock import ProcessLock, is_alive, remove_stale
from foxapi_async._journal.records import Entry
from foxapi_async._journal.row import read
from foxapi_async._journal.schema import Mismatch, check_columns, damaged, migrate
from foxapi_async._journal.seal import RESEAL, is_whole, reseal, sealed
from foxapi_async._journal.tables import RACES, JournalTables, is_gone, row_of
from foxapi_async._sql import sqlite
from foxapi_async.errors import JournalError

R = TypeVar("R")

# A file of this size is read whole at the opening, within about 0.1 s.
_SMALL: Final = 32 * 1024 * 1024


class SQLiteTables(JournalTables):
    """A journal in a file. Its rows have checksums, because nothing else notices damage to them."""

    def __init__(self, file: sqlite.DatabaseFile, connection: Connection) -> None:
        self.name: str = file.path
        self.connection: Connection = connection
        self._file = file
        self._lock: ProcessLock | None = None

    @classmethod
    def open(cls, location: JournalURL, *, create: bool) -> Self:
        """Open the file and bring its tables up to date; ``JournalError`` says why it cannot."""
        tables = cls._connect(location, create=create)
        try:
            tables.bring_up_to_date()
        except BaseException as error:
            tables.close()
            if isinstance(error, Mismatch):
                raise JournalError(f"the journal {tables.name} {error}") from None
            if isinstance(error, Exception):
                raise tables.translate_error(error) from sqlite.cause(error)
            raise
        return tables

    @classmethod
    def open_reader(cls, location: JournalURL, *, is_checked: bool) -> Self:
        """Open the file once more, whose tables are up to date."""
        tables = cls._connect(location, create=False)
        tables.is_checked = is_checked
        return tables

    @classmethod
    def _connect(cls, location: JournalURL, *, create: bool) -> Self:
        # SQLite follows links too, so every process finds the same lock files.
        path = Path(location.path).resolve()
        pragmas = (
            # SQLite applies this pragma only to an empty file.
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            f"synchronous = {location.synchronous}",
            # Deleted requests are overwritten where that needs no additional write.
            "secure_delete = FAST",
        )
        try:
            sqlite.prepare_file(path, "the journal", create=create)
            file = sqlite.open_file(path, pragmas, set_up=_set_up)
            return cls(file, file.connect())
        except sqlite.DatabaseFileError as error:
            raise JournalError(str(error)) from error.__cause__
        except sqlite.ERRORS as error:
            raise _translated(str(path), error) from sqlite.cause(error)

    def bring_up_to_date(self) -> None:
        """Make or migrate the tables, and refuse what is no journal."""
        connection = self.connection
        sqlite.lock_for_writing(connection)
        migrate(connection)
        connection.commit()
        # Apart from the migration, because others may write while a file is checked.
        check_columns(connection)
        if sqlite.size(connection) <= _SMALL:
            self.check()
        connection.rollback()

    def check(self) -> None:
        """Read the whole file once, and raise ``Mismatch`` if pages or indexes are damaged.

        This takes as long as the file is large, as a list of all entries does. A submission needs
        no check: every key is in two unique indexes, so damage to one of them fails its insert.
        """
        if self.is_checked:
            return
        found = sqlite.find_damage(self.connection)
        if found is not None:
            raise Mismatch(damaged(found))
        self.is_checked = True

    def translate_error(self, error: Exception) -> Exception:
        """Return the ``JournalError`` for an error of the database."""
        return _translated(self.name, error)

    def is_unstorable(self, error: Exception) -> bool:
        """Tell whether a value or a damaged key was at fault."""
        return isinstance(error, JournalError) or sqlite.is_bad_value(error)

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        try:
            self.connection.close()
        finally:
            if self._lock is not None:
                self._lock.end()

    def begin_run(self) -> str:
        """Lock a file beside the journal, which names the run."""
        if self._lock is None:
            try:
                remove_stale(self.name)
                self._lock = ProcessLock(self.name)
            except OSError as error:
                raise JournalError(
                    f"the journal {self.name}: no file can be made beside it ({error.strerror}): "
                    "make room, and give this process the right to write to its folder"
                ) from error
        return self._lock.name

    def lives(self, run: str) -> bool:
        """Tell whether the file of a run is locked."""
        try:
            return is_alive(self.name, run)
        except OSError as error:
            raise JournalError(
                f"the journal {self.name}: cannot determine whether the process of an entry is "
                f"alive ({error.strerror})"
            ) from error

    def perform(self, work: Callable[[JournalTables], R]) -> R:
        """Return the result of ``work``."""
        return work(self)

    def execute(self, items: Sequence[object]) -> Sequence[object]:
        """Insert claims, execute updates, then find the entries of keys."""
        self._file.check()
        claims = [item for item in items if isinstance(item, Claim)]
        # An insert fails if its key is in use, or was refused and is free. Only then the
        # keys are queried first; again if another process took a key meanwhile.
        is_careful = any(claim.intent.replaces is not None for claim in claims)
        for _ in range(RACES):
            try:
                return self._execute(items, partial(self._claim_all, is_careful=is_careful))
            except IntegrityError:
                self.connection.rollback()
                is_careful = True
        # One of the two indexes has the key, and the other has lost it.
        raise self._is_damaged()

    def lock_costs(self, service: str) -> None:
        """Begin a transaction with the lock of the file, unless it is begun."""
        del service
        if not sqlite.has_transaction(self.connection):
            sqlite.lock_for_writing(self.connection)

    def _claim_all(
        self, claims: Sequence[Claim], *, is_careful: bool
    ) -> Sequence[Entry | JournalError | None]:
        if is_careful:
            return self._claim(claims)
        if claims:
            rows = [_row(Entry.of(claim.id, claim.intent)) for claim in claims]
            self.connection.execute(statements.INSERT, rows)
        return [None] * len(claims)

    def _claim(self, claims: Sequence[Claim]) -> list[Entry | JournalError | None]:
        """Insert each intent whose key is free; return the entry that holds it for each other one.

        An intent that replaces an entry takes its place, or results in an error if the entry is
        gone.
        """
        held = self._find(name for name in map(name_of, claims) if name)
        results: list[Entry | JournalError | None] = []
        for claim in claims:
            intent, name = claim.intent, name_of(claim)
            holder = held.get(name) if name else None
            if holder is not None and not is_free(holder, intent):
                results.append(holder)
                continue
            if holder is not None:
                self._release(holder.id)
            elif name is None and not self._settle(intent.replaces):
                results.append(is_gone(intent))
                continue
            entry = Entry.of(claim.id, intent)
            if name:
                held[name] = entry
            self.connection.execute(statements.INSERT, [_row(entry)])
            results.append(None)
        return results

    def _entry(self, row: Mapping[str, Any]) -> Entry:
        return read(row, is_whole=is_whole(row))

    def _is_damaged(self) -> JournalError:
        return JournalError(f"the journal {self.name}: {sqlite.DAMAGED}")

    def incremental_vacuum(self) -> bool:
        """Give some room of deleted rows back to the disk; tell whether there may be more."""
        return sqlite.incremental_vacuum(self.connection)


def _set_up(connection: sqlite3.Connection) -> None:
    connection.text_factory = _text
    connection.create_function(RESEAL, -1, reseal, deterministic=True)


def _text(data: bytes) -> str | bytes:
    """Return text; what is damaged stays as it is, so that its row can be judged."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _translated(path: str, error: Exception) -> JournalError:
    # Never the text of SQLAlchemy: it quotes what was to be written.
    if isinstance(error, JournalError):
        return error
    if isinstance(error, Mismatch):
        return JournalError(f"the journal {path} {error}")
    journal_error = JournalError(f"the journal {path}: {sqlite.meaning(error)}")
    journal_error.__cause__ = sqlite.cause(error)
    return journal_error


def _row(entry: Entry) -> Values:
    return sealed(row_of(entry))
