"""The open file of a journal. Everything here runs in the thread of the database."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Connection, Select, delete, or_
from sqlalchemy.exc import IntegrityError

from foxapi_async._journal import statements
from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.operations import Claim, EntryUpdate, FindEntry, Statement, Values, at
from foxapi_async._journal.records import FAILED, Entry, EntryId, Intent, Stage
from foxapi_async._journal.row import read
from foxapi_async._journal.schema import SUBMISSIONS, Mismatch, check_columns, damaged, migrate
from foxapi_async._journal.seal import RESEAL, reseal, sealed
from foxapi_async._sql import sqlite
from foxapi_async.errors import JournalError

_c: Final = SUBMISSIONS.c
_MEMBERS: Final = tuple(name for name in Entry.__struct_fields__ if name != "id")
# Databases limit how many values one statement takes.
_KEYS_AT_ONCE: Final = 500
# The rows of a page are in memory together, and each may be large.
_PAGE: Final = 100
# How often another process may take a key between the query and the insert.
_RACES: Final = 20
# A file of this size is read whole at the opening, within about 0.1 s.
_SMALL: Final = 32 * 1024 * 1024


class JournalTables:
    """One connection to the file of a journal, which other processes may write to as well."""

    def __init__(self, file: sqlite.DatabaseFile, connection: Connection) -> None:
        self.path: str = file.path
        self.connection: Connection = connection
        self._file = file
        self._is_checked = False

    @classmethod
    def open(cls, location: JournalURL, *, create: bool) -> Self:
        """Open the file and bring its tables up to date; ``JournalError`` says why it cannot."""
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
            tables = cls(file, file.connect())
        except sqlite.DatabaseFileError as error:
            raise JournalError(str(error)) from error.__cause__
        except sqlite.ERRORS as error:
            raise _translated(str(path), error) from sqlite.cause(error)
        try:
            tables._bring_up_to_date()
        except BaseException as error:
            tables.close()
            if isinstance(error, Mismatch):
                raise JournalError(f"the journal {path} {error}") from None
            if isinstance(error, Exception):
                raise tables.translate_error(error) from sqlite.cause(error)
            raise
        return tables

    def _bring_up_to_date(self) -> None:
        connection = self.connection
        sqlite.lock_for_writing(connection)
        migrate(connection)
        connection.commit()
        # Apart from the migration, because others may write while a file is checked.
        check_columns(connection)
        if sqlite.size(connection) <= _SMALL:
            self._check()
        connection.rollback()

    def _check(self) -> None:
        """Read the whole file once, and raise ``Mismatch`` if pages or indexes are damaged.

        This takes as long as the file is large, as a list of all entries does. A submission needs
        no check: every key is in two unique indexes, so damage to one of them fails its insert.
        """
        if self._is_checked:
            return
        found = sqlite.find_damage(self.connection)
        if found is not None:
            raise Mismatch(damaged(found))
        self._is_checked = True

    def translate_error(self, error: Exception) -> Exception:
        """Return the ``JournalError`` for an error of the database."""
        return _translated(self.path, error)

    def is_unstorable(self, error: Exception) -> bool:
        """Tell whether a value or a damaged key was at fault."""
        return isinstance(error, JournalError) or sqlite.is_bad_value(error)

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        self.connection.close()

    def execute(self, items: Sequence[object]) -> Sequence[object]:
        """Insert claims, execute updates, then find the entries of keys.

        The result of a claim is ``None``, or the entry that holds its key. The result of a
        ``FindEntry`` is the entry, or ``None``.
        """
        self._file.check()
        claims = [item for item in items if isinstance(item, Claim)]
        # An insert fails if its key is in use, or was refused and is free. Only then the
        # keys are queried first; again if another process took a key meanwhile.
        is_careful = any(claim.intent.replaces is not None for claim in claims)
        for _ in range(_RACES):
            try:
                return self._execute(claims, items, is_careful=is_careful)
            except IntegrityError:
                self.connection.rollback()
                is_careful = True
        # One of the two indexes has the key, and the other has lost it.
        raise self._is_damaged()

    def _execute(
        self, claims: Sequence[Claim], items: Sequence[object], *, is_careful: bool
    ) -> Sequence[object]:
        if is_careful:
            holders = self._claim(claims)
        else:
            holders = [None] * len(claims)
            if claims:
                rows = [_row(Entry.of(claim.id, claim.intent)) for claim in claims]
                self.connection.execute(statements.INSERT, rows)
        self._update(item for item in items if isinstance(item, EntryUpdate))
        found = self._find(item for item in items if isinstance(item, FindEntry))
        left = iter(holders)
        return [
            next(left)
            if isinstance(item, Claim)
            else found.get(item)
            if isinstance(item, FindEntry)
            else None
            for item in items
        ]

    def _update(self, updates: Iterable[EntryUpdate]) -> None:
        """Execute the updates of each kind together, in the order of the kinds."""
        kinds: dict[Statement, list[Values]] = {}
        for statement, values in updates:
            kinds.setdefault(statement, []).append(values)
        for statement in sorted(kinds):
            self.connection.execute(statements.CHANGES[statement], kinds[statement])

    def _claim(self, claims: Sequence[Claim]) -> list[Entry | JournalError | None]:
        """Insert each intent whose key is free; return the entry that holds it for each other one.

        An intent that replaces an entry takes its place, or results in an error if the entry is
        gone.
        """
        names = (FindEntry(it.service, it.key) for _, it in claims if it.key is not None)
        held = self._find(names)
        results: list[Entry | JournalError | None] = []
        for entry_id, intent in claims:
            name = FindEntry(intent.service, intent.key) if intent.key is not None else None
            holder = held.get(name) if name else None
            if holder is not None and not _is_free(holder, intent):
                results.append(holder)
                continue
            if holder is not None:
                self._release(holder.id)
            elif name is None and not self._settle(intent.replaces):
                gone = f"entry {intent.replaces} was settled by another process: nothing was sent"
                results.append(JournalError(gone))
                continue
            entry = Entry.of(entry_id, intent)
            if name:
                held[name] = entry
            self.connection.execute(statements.INSERT, [_row(entry)])
            results.append(None)
        return results

    def _release(self, entry_id: EntryId) -> None:
        """Free the key of an entry: delete the entry, or take the key from one that failed."""
        for statement in (
            statements.DELETE_REFUSED,
            statements.DELETE_UNSETTLED,
            statements.FREE_KEY_OF_FAILED,
        ):
            self.connection.execute(statement, at(entry_id))

    def _settle(self, replaced: EntryId | None) -> bool:
        """Delete the entry of unknown outcome that is sent again; tell whether it was there."""
        if replaced is None:
            return True
        return self.connection.execute(statements.DELETE_UNSETTLED, at(replaced)).rowcount > 0

    def _find(self, names: Iterable[FindEntry]) -> dict[FindEntry, Entry]:
        """Return the entries that hold these keys."""
        keys: dict[str, set[str]] = {}
        for service, key in names:
            keys.setdefault(service, set()).add(key)
        found: dict[FindEntry, Entry] = {}
        for service, wanted in keys.items():
            for some in _chunks(wanted):
                found |= self._find_some(service, some)
        return found

    def _find_some(self, service: str, keys: list[str]) -> dict[FindEntry, Entry]:
        if len(keys) > 1:
            many = {"of_service": service, "of_keys": keys}
            rows = self.connection.execute(statements.FIND_MANY, many).mappings().all()
            if all(row["key"] in keys and row["service"] == service for row in rows):
                return {FindEntry(service, row["key"]): read(dict(row)) for row in rows}
        found: dict[FindEntry, Entry] = {}
        for key in keys:
            one = {"of_service": service, "of_key": key}
            for row in self.connection.execute(statements.FIND, one).mappings():
                entry = read(dict(row))
                is_whole = entry.stage is not Stage.UNREADABLE
                if is_whole and (entry.service, entry.key) != (service, key):
                    # The index leads to another row.
                    raise self._is_damaged()
                found[FindEntry(service, key)] = entry
        return found

    def _is_damaged(self) -> JournalError:
        return JournalError(f"the journal {self.path}: {sqlite.DAMAGED}")

    def runs_sending(self) -> set[str]:
        """Return the runs with submissions of which no more is known than that they were sent."""
        return set(self.connection.scalars(statements.RUNS_SENDING))

    def runs(self) -> list[str]:
        """Return the runs that have entries, in the order in which they began to send."""
        self._check()
        return list(self.connection.scalars(statements.RUNS))

    def entries(
        self, service: str | None, stages: Collection[Stage] | None, *, omit_bodies: bool
    ) -> list[Entry]:
        """Return entries in the order they were sent."""
        self._check()
        query = statements.wanted(service, stages, omit_bodies=omit_bodies)
        return self._entries(query.order_by(_c.sent_at, _c.run, _c.number))

    def page(
        self,
        after: EntryId,
        service: str | None,
        stages: Collection[Stage] | None,
        *,
        omit_bodies: bool,
    ) -> list[Entry]:
        """Return the next entries of the run of ``after``; none after the last one."""
        query = statements.wanted(service, stages, omit_bodies=omit_bodies)
        query = query.where(_c.run == after.run, _c.number > after.number)
        return self._entries(query.order_by(_c.number).limit(_PAGE))

    def lookup(self, name: str, entry_id: EntryId | None) -> list[Entry]:
        """Return the entries that have ``name`` as key or task id, or that have this id."""
        names = [_c.key == name, _c.task_id == name]
        if entry_id is not None:
            names.append((_c.run == entry_id.run) & (_c.number == entry_id.number))
        query = statements.columns().where(or_(*names))
        return self._entries(query.order_by(_c.sent_at, _c.run, _c.number))

    def prune(self, before: float, stages: Collection[Stage]) -> int:
        """Delete what is at one of ``stages`` and older than ``before``; return how many."""
        query = delete(SUBMISSIONS).where(_c.stage.in_(stages), _c.sent_at < before)
        return self.connection.execute(query).rowcount

    def delete(self, ids: Iterable[EntryId], living: Collection[str]) -> int:
        """Delete these entries but for what a living run has just sent; return how many."""
        deleted = 0
        for entry_id in ids:
            query = delete(SUBMISSIONS).where(_c.run == entry_id.run, _c.number == entry_id.number)
            if entry_id.run in living:
                query = query.where(_c.stage != Stage.SENT)
            deleted += self.connection.execute(query).rowcount
        return deleted

    def incremental_vacuum(self) -> bool:
        """Give some room of deleted rows back to the disk; tell whether there may be more."""
        return sqlite.incremental_vacuum(self.connection)

    def _entries(self, query: Select[Any]) -> list[Entry]:
        return [read(dict(row)) for row in self.connection.execute(query).mappings()]


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


def _is_free(holder: Entry, intent: Intent) -> bool:
    """Tell whether a key may be sent under again: it was refused, or is given up by ``intent``."""
    if holder.stage is Stage.REFUSED:
        return True
    return holder.id == intent.replaces and holder.stage in FAILED | statements.UNSETTLED


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while some := list(islice(rest, _KEYS_AT_ONCE)):
        yield some


def _row(entry: Entry) -> Values:
    row: Values = {name: getattr(entry, name) for name in _MEMBERS}
    return sealed(row | {"run": entry.id.run, "number": entry.id.number})
