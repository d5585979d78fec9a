"""A journal in a PostgreSQL database. Everything here runs in the thread of the database."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from secrets import token_hex
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Engine, false, select, text
from sqlalchemy.exc import DBAPIError

from foxapi_async._journal import statements
from foxapi_async._journal.counted_claims import is_free, name_of
from foxapi_async._journal.operations import Claim, FindEntry, Statement, Values, at
from foxapi_async._journal.postgres_url import PostgresURL
from foxapi_async._journal.records import Entry, EntryId, Stage
from foxapi_async._journal.row import read
from foxapi_async._journal.schema import STEPS, SUBMISSIONS, Mismatch, migrate, read_version
from foxapi_async._journal.tables import RACES, JournalTables, is_gone, row_of
from foxapi_async._sql import postgres
from foxapi_async.errors import JournalError

R = TypeVar("R")

_ID_BYTES: Final = 5
_CONFLICTS: Final = 9
_READ_TIMEOUT: Final = 600.0  # seconds for a list of millions
_MIGRATION: Final = "migration"
_COSTS: Final = "costs of "

# For this transaction: a statement over all rows of a large journal takes its time.
_NO_TIME_LIMIT: Final = text("SET LOCAL statement_timeout = 0")
_LOCK: Final = text("SELECT pg_advisory_lock(:lock)")
_TRY_LOCK: Final = text("SELECT pg_try_advisory_lock(:lock)")
_LOCK_TRANSACTION: Final = text("SELECT pg_advisory_xact_lock(:lock)")
_HELD: Final = """
    FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_LOCKS: Final = text(f"SELECT classid::bigint, objid::bigint {_HELD}")
_END_FORMER: Final = text(
    f"SELECT pg_terminate_backend(pid) {_HELD} AND pid <> pg_backend_pid()"
    " AND classid::bigint = :high AND objid::bigint = :low"
)


class PostgresTables(JournalTables):
    """A journal in a database of a server, which many machines may share.

    A connection that is lost is made again with the next use. A transaction whose end is not known
    then is executed again: what it inserted the first time is found by its id.
    """

    def __init__(self, location: PostgresURL, engine: Engine) -> None:
        self.name: str = location.name
        self._secret = location.password
        self._engine = engine
        self._run: str | None = None
        self.connection: Connection = engine.connect()

    @classmethod
    def open(cls, location: PostgresURL, *, create: bool) -> Self:
        """Connect and bring the tables up to date; ``JournalError`` says why it cannot."""
        tables = cls._connect(location, postgres.STATEMENT_TIMEOUT)
        try:
            tables.bring_up_to_date(create=create)
        except BaseException as error:
            tables.close()
            if isinstance(error, Exception):
                raise tables.translate_error(error) from None
            raise
        return tables

    @classmethod
    def open_reader(cls, location: PostgresURL) -> Self:
        """Connect once more to a database whose tables are up to date."""
        return cls._connect(location, _READ_TIMEOUT)

    @classmethod
    def _connect(cls, location: PostgresURL, statement_timeout: float) -> Self:
        engine = postgres.make_engine(location.url, statement_timeout=statement_timeout)
        try:
            return cls(location, engine)
        except postgres.ERRORS as error:
            raise _translated(location.name, location.password, error) from None

    def bring_up_to_date(self, *, create: bool) -> None:
        """Make or migrate the tables, and refuse what is no journal."""
        connection = self.connection
        version = read_version(connection)
        if version == 0 and not create:
            raise Mismatch("has no tables: the first session that submits with it makes them")
        if version != len(STEPS):
            # Several processes may begin at once; all but one find nothing to do.
            connection.execute(_NO_TIME_LIMIT)
            connection.execute(_LOCK_TRANSACTION, {"lock": _lock_of(_MIGRATION)})
            migrate(connection)
        connection.commit()
        connection.execute(select(SUBMISSIONS).where(false()))
        connection.rollback()

    def begin_run(self) -> str:
        """Take a lock that the server holds as long as the connection lives."""
        while self._run is None:
            run = token_hex(_ID_BYTES)
            if self.connection.scalar(_TRY_LOCK, {"lock": _lock_of(run)}):
                self._run = run
        return self._run

    def lives(self, run: str) -> bool:
        """Tell whether a connection holds the lock of a run."""
        return _lock_of(run) in self._locks()

    def dead_runs(self) -> set[str]:
        """Return the runs that have ended and left submissions whose outcome is not written."""
        # In this order: a run has its lock before it sends.
        runs = self.runs_sending()
        locks: Collection[int] = self._locks() if runs else ()
        return {run for run in runs if _lock_of(run) not in locks}

    def _locks(self) -> set[int]:
        return {_joined(*halves) for halves in self.connection.execute(_LOCKS)}

    def perform(self, work: Callable[[JournalTables], R]) -> R:
        """Return the result of ``work``, after further attempts if the connection is lost."""
        return self._attempted(lambda: work(self))

    def execute(self, items: Sequence[object]) -> Sequence[object]:
        """Insert claims, execute updates, then find the entries of keys, and commit."""
        return self._attempted(lambda: self._execute(items, self._claim))

    def lock_costs(self, service: str) -> None:
        """Take a lock until the end of the transaction, before any row is locked."""
        self.connection.execute(_LOCK_TRANSACTION, {"lock": _lock_of(f"{_COSTS}{service}")})

    def _attempted(self, work: Callable[[], R]) -> R:
        """Run ``work`` and commit; again if others were in its way, or the connection is lost."""
        losses = conflicts = 0
        lost_at: float | None = None
        while True:
            try:
                self._reconnect()
                result = work()
                self.connection.commit()
            except DBAPIError as error:
                if postgres.is_connected(self.connection):
                    conflicts += 1
                    if conflicts > _CONFLICTS or not postgres.is_transient(error):
                        raise
                    self.connection.rollback()
                    time.sleep(postgres.conflict_pause(conflicts))
                else:
                    losses += 1
                    lost_at = lost_at or time.monotonic()
                    elapsed = time.monotonic() - lost_at
                    pause = postgres.reconnect_pause(error, losses, elapsed)
                    if pause is None:
                        raise
                    time.sleep(pause)
            else:
                return result

    def _reconnect(self) -> None:
        """Make a lost connection again, with the lock of this run."""
        if postgres.is_connected(self.connection):
            return
        if not self.connection.closed:
            self.connection.invalidate()
            self.connection.close()
        self.connection = self._engine.connect()
        try:
            self._resume_run()
        except BaseException:
            self.connection.close()
            raise

    def _resume_run(self) -> None:
        if self._run is None:
            return
        # The server may not know yet that the former connection is lost. Once that has ended, what
        # it committed can be seen, and it commits nothing more.
        lock = _lock_of(self._run)
        high, low = _halves(lock)
        self.connection.execute(_END_FORMER, {"high": high, "low": low})
        self.connection.execute(_LOCK, {"lock": lock})
        self.connection.commit()

    def _claim(self, claims: Sequence[Claim]) -> list[Entry | JournalError | None]:
        """Insert each intent whose key is free; return the entry that holds it for each other one.

        An intent that replaces an entry takes its place, or results in an error if the entry is
        gone. In the order of their keys, so that two processes do not wait for each other.
        """
        results: dict[EntryId, Entry | JournalError | None] = {}
        left = sorted(claims, key=_order)
        for _ in range(RACES):
            if not left:
                return [results[claim.id] for claim in claims]
            left = self._claim_once(left, results)
        raise JournalError(f"the journal {self.name}: other processes take a key and free it again")

    def _claim_once(
        self, claims: Sequence[Claim], results: dict[EntryId, Entry | JournalError | None]
    ) -> list[Claim]:
        """Set the results of the claims that are decided, and return the other ones."""
        first = {name: claim for claim in reversed(claims) if (name := name_of(claim))}
        inserted = [
            claim for claim in claims if (name := name_of(claim)) is None or first[name] is claim
        ]
        inserted = [claim for claim in inserted if self._may_insert(claim, results)]
        won = self._insert(inserted)
        held = self._find(
            name for claim in claims if claim.id not in won and (name := name_of(claim))
        )
        left: list[Claim] = []
        for claim in claims:
            name = name_of(claim)
            holder = held.get(name) if name else None
            if claim.id in won or (holder is not None and holder.id == claim.id):
                # The second: it was inserted by a transaction whose end was not known.
                results[claim.id] = None
            elif name is None:
                # Only its own id can be in its way.
                results.setdefault(claim.id, None)
            elif holder is None:
                left.append(claim)
            elif is_free(holder, claim.intent):
                self._release(holder.id)
                left.append(claim)
            else:
                results[claim.id] = holder
        return left

    def _may_insert(
        self, claim: Claim, results: dict[EntryId, Entry | JournalError | None]
    ) -> bool:
        """Settle what an intent without a key replaces; tell whether it was there."""
        intent = claim.intent
        if intent.key is not None or self._settle(intent.replaces):
            return True
        if self.connection.scalar(statements.FIND_ID, at(claim.id)) is None:
            results[claim.id] = is_gone(intent)
        return False

    def _insert(self, claims: Sequence[Claim]) -> set[EntryId]:
        """Insert the rows whose key is free; return their ids."""
        if not claims:
            return set()
        rows = [_row(Entry.of(claim.id, claim.intent)) for claim in claims]
        found = self.connection.execute(statements.INSERT_FREE, rows)
        return {EntryId(run, number) for run, number in found}

    def _change(self, statement: Statement, rows: list[Values]) -> None:
        # All processes lock rows in one order.
        names = ("at_run", "at_number") if "at_run" in rows[0] else ("of_service", "of_task_id")
        rows.sort(key=lambda row: [row[name] for name in names])
        super()._change(statement, list(map(_storable, rows)))

    def _find_some(self, service: str, keys: list[str]) -> dict[FindEntry, Entry]:
        many = {"of_service": service, "of_keys": keys}
        rows = self.connection.execute(statements.FIND_MANY, many).mappings()
        return {FindEntry(service, row["key"]): self._entry(dict(row)) for row in rows}

    def _entry(self, row: Mapping[str, Any]) -> Entry:
        return read(row, is_whole=True)

    def prune(self, before: float, stages: Collection[Stage]) -> int:
        """Delete what is at one of ``stages`` and older than ``before``; return how many."""
        self.connection.execute(_NO_TIME_LIMIT)
        return super().prune(before, stages)

    def _is_damaged(self) -> JournalError:
        return JournalError(f"the journal {self.name}: its index is damaged")

    def check(self) -> None:
        """Do nothing: the server checks each page that it reads."""

    def incremental_vacuum(self) -> bool:
        """Do nothing: the server does so."""
        return False

    def translate_error(self, error: Exception) -> Exception:
        """Return the ``JournalError`` for an error of the database."""
        return _translated(self.name, self._secret, error)

    def is_unstorable(self, error: Exception) -> bool:
        """Tell whether a value was at fault."""
        return postgres.is_bad_value(error)

    def close(self) -> None:
        """Close the connection; the server then releases the lock of the run."""
        self.connection.close()


def _translated(name: str, secret: str, error: Exception) -> JournalError:
    # No text or cause of the driver: it quotes what was to be written.
    if isinstance(error, JournalError):
        return error
    if isinstance(error, Mismatch):
        return JournalError(f"the journal {name} {error}")
    return JournalError(f"the journal {name}: {postgres.meaning(error, secret)}")


def _order(claim: Claim) -> tuple[str, str, int]:
    return claim.intent.service, claim.intent.key or "", claim.id.number


def _row(entry: Entry) -> Values:
    return row_of(entry) | {"seal": None, "content_seal": None}


def _storable(row: Values) -> Values:
    """Return values without the one character that the server cannot store."""
    fault = row.get("new_fault")
    if fault is None or "\0" not in fault:
        return row
    return row | {"new_fault": fault.replace("\0", "\N{REPLACEMENT CHARACTER}")}


def _lock_of(name: str) -> int:
    """Return the advisory lock of a run: a number, which all programs of a database share."""
    digest = blake2b(f"foxapi-async {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _halves(lock: int) -> tuple[int, int]:
    """Return the two numbers by which the server lists a lock."""
    return (lock >> 32) & 0xFFFFFFFF, lock & 0xFFFFFFFF


def _joined(high: int, low: int) -> int:
    unsigned = high << 32 | low
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned
