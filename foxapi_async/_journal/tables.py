"""The tables of a journal in a database. Everything here runs in the thread of the database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, delete, insert, or_, select

from foxapi_async._journal import statements
from foxapi_async._journal.cost_tables import CostTables
from foxapi_async._journal.counted_claims import CountedClaims
from foxapi_async._journal.operations import (
    Claim,
    CostChange,
    EntryUpdate,
    FindEntry,
    Statement,
    Values,
    at,
)
from foxapi_async._journal.position import Position
from foxapi_async._journal.records import (
    ContentMark,
    Entry,
    EntryId,
    Intent,
    Stage,
    StoredUpload,
)
from foxapi_async._journal.schema import SUBMISSIONS, UPLOADS
from foxapi_async._protocol.spent import Spent
from foxapi_async.errors import JournalError

R = TypeVar("R")

_c: Final = SUBMISSIONS.c
_MEMBERS: Final = tuple(name for name in Entry.__struct_fields__ if name != "id")
# Databases limit how many values one statement takes.
_KEYS_AT_ONCE: Final = 500
# The rows of a page are in memory together, and each may be large.
_PAGE: Final = 100
RACES: Final = 20
"""How often another process may take a key between the query and the insert."""


class JournalTables(ABC):
    """One connection to a journal, which other processes may write to as well."""

    name: str
    """What messages call the journal: a path, or a URL without its password."""
    connection: Connection
    """The connection."""
    is_checked: bool = False
    """Whether all of it was searched for damage."""

    @abstractmethod
    def execute(self, items: Sequence[object]) -> Sequence[object]:
        """Insert claims, execute updates, then find the entries of keys.

        The result of a claim is ``None``, or the entry that holds its key; with a reservation, a
        ``ClaimResult``. The result of a ``FindEntry`` is the entry, or ``None``.
        """

    @abstractmethod
    def perform(self, work: "Callable[[JournalTables], R]") -> R:
        """Return the result of ``work``, which reads or deletes entries."""

    @abstractmethod
    def begin_run(self) -> str:
        """Return the name of this run of the process, which lives until ``close``.

        Further calls return the same name.
        """

    @abstractmethod
    def lives(self, run: str) -> bool:
        """Tell whether the process of a run is alive and has the journal open."""

    @abstractmethod
    def lock_costs(self, service: str) -> None:
        """Begin a transaction that alone may change the costs of a service, until its end."""

    @abstractmethod
    def check(self) -> None:
        """Search everything for damage, once, where the database does not do so itself."""

    @abstractmethod
    def incremental_vacuum(self) -> bool:
        """Give some room of deleted rows back to the disk; tell whether there may be more."""

    @abstractmethod
    def translate_error(self, error: Exception) -> Exception:
        """Return the ``JournalError`` for an error of the database."""

    @abstractmethod
    def is_unstorable(self, error: Exception) -> bool:
        """Tell whether a value or a damaged key was at fault."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection and end the run."""

    @abstractmethod
    def _entry(self, row: Mapping[str, Any]) -> Entry:
        """Return the entry of a row."""

    @abstractmethod
    def _is_damaged(self) -> JournalError:
        """Return the error for an index that leads to another row."""

    def dead_runs(self) -> set[str]:
        """Return the runs that have ended and left submissions whose outcome is not written."""
        return {run for run in self.runs_sending() if not self.lives(run)}

    def _execute(
        self,
        items: Sequence[object],
        claim: Callable[[Sequence[Claim]], Sequence[Entry | JournalError | None]],
    ) -> Sequence[object]:
        """Execute items, of which ``claim`` inserts the claims, and count what they cost."""
        claims = [item for item in items if isinstance(item, Claim)]
        changes = [item for item in items if isinstance(item, CostChange)]
        services = {change.service for change in changes}
        services |= {it.intent.service for it in claims if it.intent.reservation is not None}
        if not services:
            return self._results(items, claim(claims), {})
        costs = {service: self._costs(service) for service in sorted(services)}
        # Before the claims, which may need the room that they free.
        changes = _changed(costs, changes)
        counted = CountedClaims(costs, claims, self.lives, self._find)
        counted.finish(claim(counted.admitted))
        results = self._results(items, [counted.result(it) for it in claims], costs)
        # Those whose entries have come with this transaction.
        _changed(costs, changes)
        for table in costs.values():
            table.save()
        return results

    def _costs(self, service: str) -> CostTables:
        self.lock_costs(service)
        return CostTables(self.connection, service, self.name)

    def add_uncounted(self, service: str, after: EntryId) -> EntryId | None:
        """Count the cost of some entries that have none; return the last one, if there is one."""
        costs = self._costs(service)
        last = costs.add_uncounted(after, self._entry)
        costs.save()
        return last

    def end_open_costs(self, service: str, after: EntryId) -> EntryId | None:
        """Correct some costs whose entries have ended or are gone; return the last entry."""
        costs = self._costs(service)
        last = costs.end_open(after, self._entry)
        costs.save()
        return last

    def sum_up_costs(self, service: str) -> Spent:
        """Add up the costs of a service once more, and return the sums."""
        costs = self._costs(service)
        costs.sum_up()
        costs.save()
        return costs.spent

    def _results(
        self,
        items: Sequence[object],
        holders: Iterable[object],
        costs: Mapping[str, CostTables],
    ) -> Sequence[object]:
        """Execute what is no claim, and return the results of all items in their order."""
        self._update(item for item in items if isinstance(item, EntryUpdate))
        found = self._find(item for item in items if isinstance(item, FindEntry))
        left = iter(holders)
        return [
            next(left)
            if isinstance(item, Claim)
            else found.get(item)
            if isinstance(item, FindEntry)
            else costs[item.service].spent
            if isinstance(item, CostChange)
            else None
            for item in items
        ]

    def _update(self, updates: Iterable[EntryUpdate]) -> None:
        """Execute the updates of each kind together, in the order of the kinds."""
        kinds: dict[Statement, list[Values]] = {}
        for statement, values in updates:
            kinds.setdefault(statement, []).append(values)
        for statement in sorted(kinds):
            self._change(statement, kinds[statement])

    def _change(self, statement: Statement, rows: list[Values]) -> None:
        self.connection.execute(statements.CHANGES[statement], rows)

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
                return {FindEntry(service, row["key"]): self._entry(dict(row)) for row in rows}
        found: dict[FindEntry, Entry] = {}
        for key in keys:
            one = {"of_service": service, "of_key": key}
            for row in self.connection.execute(statements.FIND, one).mappings():
                entry = self._entry(dict(row))
                is_whole = entry.stage is not Stage.UNREADABLE
                if is_whole and (entry.service, entry.key) != (service, key):
                    raise self._is_damaged()
                found[FindEntry(service, key)] = entry
        return found

    def runs_sending(self) -> set[str]:
        """Return the runs with submissions of which no more is known than that they were sent."""
        return set(self.connection.scalars(statements.RUNS_SENDING))

    def runs(self) -> list[str]:
        """Return the runs that have entries, in the order in which they began to send."""
        self.check()
        return list(self.connection.scalars(statements.RUNS))

    def entries(
        self, service: str | None, stages: Collection[Stage] | None, *, omit_bodies: bool
    ) -> list[Entry]:
        """Return entries in the order they were sent."""
        self.check()
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

    def ended(
        self, after: Position, service: str | None, stages: Collection[Stage]
    ) -> list[tuple[Position, Entry]]:
        """Return the next entries that have ended, with their positions."""
        query = statements.columns().where(_c.ended_at.is_not(None), _c.stage.in_(stages))
        if service is not None:
            query = query.where(_c.service == service)
        later = or_(
            _c.ended_at > after.ended_at,
            _c.run > after.run,
            (_c.run == after.run) & (_c.number > after.number),
        )
        query = query.where(_c.ended_at >= after.ended_at, later)
        query = query.order_by(_c.ended_at, _c.run, _c.number).limit(_PAGE)
        rows = self.connection.execute(query).mappings().all()
        # A time that is no number is damaged, and comes after all others.
        return [
            (Position(row["ended_at"], row["run"], row["number"]), self._entry(dict(row)))
            for row in rows
            if isinstance(row["ended_at"], float)
        ]

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

    def find_uploads(self, service: str, mark: ContentMark, after: float) -> list[StoredUpload]:
        """Return the uploads of a file with this mark whose link is valid ``after`` that time."""
        c = UPLOADS.c
        query = select(c.digest, c.file, c.expires_at).where(
            c.service == service,
            c.filename == mark.filename,
            c.size == mark.size,
            c.head == mark.head,
            c.expires_at > after,
        )
        return [
            StoredUpload(
                service=service, mark=mark, digest=digest, file=bytes(file), expires_at=expires_at
            )
            for digest, file, expires_at in self.connection.execute(query)
        ]

    def store_upload(self, upload: StoredUpload, now: float) -> None:
        """Store an upload in place of one of the same file, and drop what has expired."""
        c, mark = UPLOADS.c, upload.mark
        is_same = (
            (c.service == upload.service)
            & (c.digest == upload.digest)
            & (c.filename == mark.filename)
        )
        self.connection.execute(delete(UPLOADS).where(or_(c.expires_at < now, is_same)))
        self.connection.execute(
            insert(UPLOADS).values(
                service=upload.service,
                digest=upload.digest,
                filename=mark.filename,
                size=mark.size,
                head=mark.head,
                expires_at=upload.expires_at,
                file=upload.file,
            )
        )

    def _entries(self, query: Select[Any]) -> list[Entry]:
        return [self._entry(dict(row)) for row in self.connection.execute(query).mappings()]


def is_gone(intent: Intent) -> JournalError:
    """Return the error of an intent whose entry was settled by another process."""
    return JournalError(f"entry {intent.replaces} was settled by another process: nothing was sent")


def row_of(entry: Entry) -> Values:
    """Return the columns of an entry, without checksums."""
    row: Values = {name: getattr(entry, name) for name in _MEMBERS}
    return row | {"run": entry.id.run, "number": entry.id.number}


def _changed(costs: Mapping[str, CostTables], changes: Iterable[CostChange]) -> list[CostChange]:
    """Change costs; return the changes whose entries have none."""
    of_service: dict[str, list[CostChange]] = {}
    for change in changes:
        of_service.setdefault(change.service, []).append(change)
    return [left for service, some in of_service.items() for left in costs[service].change(some)]


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while some := list(islice(rest, _KEYS_AT_ONCE)):
        yield some
