"""The costs of the entries of a journal, and their sums. Runs in the thread of the database."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql

from foxapi_async._journal import statements
from foxapi_async._journal.operations import CostChange, Values, at, ended_cost
from foxapi_async._journal.records import FINISHED, Entry, EntryId, Reservation, Stage
from foxapi_async._journal.schema import COSTS, IS_FIRST, SPENT, SUBMISSIONS
from foxapi_async._protocol.spent import (
    UNDER_WAY,
    CostState,
    ModelSpent,
    PriceUnknownError,
    Spent,
    TaskCost,
    find_exceeded,
    limits_credits,
)
from foxapi_async.errors import JournalError

_c: Final = COSTS.c
_s: Final = SUBMISSIONS.c
_COST: Final = (_c.run, _c.number, _c.model, _c.tokens, _c.credits, _c.answer_tokens, _c.state)
_SUMS: Final = ModelSpent.__struct_fields__
# Databases limit how many values one statement takes.
_AT_ONCE: Final = 500
_PAGE: Final = 500
_UNSETTLED: Final = (Stage.SENT, Stage.ACCEPTED, Stage.UNKNOWN, Stage.LOST)

_here = (_c.run == bindparam("at_run"), _c.number == bindparam("at_number"))
_same_entry: Final = (_s.run == _c.run) & (_s.number == _c.number)
_INSERT: Final = insert(COSTS)
_INSERT_NEW: Final = postgresql.insert(COSTS).on_conflict_do_nothing().returning(_c.run, _c.number)
_UPDATE: Final = (
    update(COSTS)
    .where(*_here)
    .values({name: bindparam(f"new_{name}") for name in ("tokens", "credits", "answer_tokens")})
    .values(state=bindparam("new_state"))
)
_DELETE: Final = delete(COSTS).where(*_here)
_UPDATE_SUMS: Final = (
    update(SPENT)
    .where(SPENT.c.service == bindparam("of_service"), SPENT.c.model == bindparam("of_model"))
    .values({name: bindparam(f"new_{name}") for name in _SUMS})
)
_HAS_NO_COST: Final = ~exists(select(_c.run).where(_same_entry))
_ENTRY_IS_GONE: Final = ~exists(select(_s.run).where(_same_entry))


class CostRow(NamedTuple):
    """The cost of an entry, as it is stored."""

    entry: EntryId
    model: str
    cost: TaskCost


class CostTables:
    """The costs of one service. The transaction of the connection must hold their lock."""

    def __init__(self, connection: Connection, service: str, name: str) -> None:
        self.service: str = service
        self._connection = connection
        self._name = name
        query = select(SPENT.c.model, *(SPENT.c[name] for name in _SUMS))
        rows = connection.execute(query.where(SPENT.c.service == service)).all()
        self._stored: set[str] = {row.model for row in rows}
        self.spent: Spent = Spent({row.model: self._sums_of(row) for row in rows})
        self._changed: set[str] = set()

    def change(self, changes: Iterable[CostChange]) -> list[CostChange]:
        """Make the changes whose entries have a cost; return the other ones."""
        left: list[CostChange] = []
        wanted = list(changes)
        by_id = self._find({it.entry for it in wanted if isinstance(it.entry, EntryId)})
        by_task = self._find_tasks({it.entry for it in wanted if isinstance(it.entry, str)})
        # Several changes may be of one entry.
        costs: dict[EntryId, TaskCost | None] = {}
        before: dict[EntryId, CostRow] = {}
        for it in wanted:
            rows = by_id.get(it.entry, []) if isinstance(it.entry, EntryId) else by_task[it.entry]
            if not rows:
                left.append(it)
            for row in rows:
                cost = costs.get(row.entry, row.cost)
                before[row.entry] = row
                costs[row.entry] = it.apply(cost) if cost is not None else None
        self._replace([(before[entry], cost) for entry, cost in costs.items()])
        return left

    def decide(
        self,
        reservation: Reservation,
        model: str,
        run: str,
        lives: Callable[[str], bool],
    ) -> tuple[TaskCost, Exception | None]:
        """Return the cost of a submission, and why it may not be sent, if it may not."""
        spent, tokens = self.spent, reservation.tokens
        cost = TaskCost(tokens=tokens)
        error = find_exceeded(reservation.limits, spent.total(), spent.needed(model, tokens))
        if error is not None:
            return cost, error
        if limits_credits(reservation.limits) and spent.price(model) is None:
            if any(other != run and lives(other) for other in self._first_runs(model)):
                return cost, PriceUnknownError()
            cost = TaskCost(tokens=tokens, state=CostState.FIRST)
        return cost, None

    def count(self, model: str, cost: TaskCost) -> None:
        """Count a cost that is about to be inserted."""
        self.spent.change(model, None, cost)
        self._changed.add(model)

    def uncount(self, model: str, cost: TaskCost) -> None:
        """Count a cost no more, because it was not inserted."""
        self.spent.change(model, cost, None)
        self._changed.add(model)

    def insert(self, rows: Sequence[CostRow]) -> None:
        """Insert costs that are counted; one that is stored already is not counted twice."""
        if not rows:
            return
        values = [self._row(row) for row in rows]
        if self._connection.dialect.name == "sqlite":
            self._connection.execute(_INSERT, values)
            return
        # A transaction whose end was not known is executed again.
        found = self._connection.execute(_INSERT_NEW, values)
        new = {EntryId(run, number) for run, number in found}
        for row in rows:
            if row.entry not in new:
                self.uncount(row.model, row.cost)

    def stored(self, entries: Collection[EntryId]) -> set[EntryId]:
        """Return those of the entries that have a cost."""
        return {*self._find(entries)}

    def keep_replaced(self, entries: Iterable[EntryId]) -> None:
        """Keep the costs of entries that another one has replaced, if they are gone."""
        rows = [at(entry) for entry in entries]
        if rows:
            query = update(COSTS).where(*_here, _ENTRY_IS_GONE)
            self._connection.execute(query.values(state=CostState.REPLACED.value), rows)

    def save(self) -> None:
        """Write the sums that have changed."""
        new = sorted(self._changed - self._stored)
        old = sorted(self._changed & self._stored)
        if new:
            rows = [
                {"service": self.service, "model": model, **self._values(model)} for model in new
            ]
            self._connection.execute(insert(SPENT), rows)
        if old:
            rows = [
                {"of_service": self.service, "of_model": model}
                | {f"new_{name}": value for name, value in self._values(model).items()}
                for model in old
            ]
            self._connection.execute(_UPDATE_SUMS, rows)

    # What sessions without a budget, or processes that were killed, have left

    def add_uncounted(
        self, after: EntryId, read: Callable[[Mapping[str, Any]], Entry]
    ) -> EntryId | None:
        """Count a page of the entries that have no cost; return the last one, if there is one."""
        query = statements.columns().where(
            _s.service == self.service,
            _s.stage != Stage.REFUSED,
            tuple_(_s.run, _s.number) > tuple_(after.run, after.number),
            _HAS_NO_COST,
        )
        query = query.order_by(_s.run, _s.number).limit(_PAGE)
        entries = [read(dict(row)) for row in self._connection.execute(query).mappings()]
        rows = [
            CostRow(entry.id, entry.model, self._cost_of(entry, TaskCost(tokens=0)))
            for entry in entries
        ]
        for row in rows:
            self.count(row.model, row.cost)
        self.insert(rows)
        return entries[-1].id if entries else None

    def end_open(
        self, after: EntryId, read: Callable[[Mapping[str, Any]], Entry]
    ) -> EntryId | None:
        """Correct a page of the costs whose entry has ended or is gone; return the last one."""
        is_old = _c.state.in_(sorted(UNDER_WAY)) & _s.stage.not_in(_UNSETTLED)
        costs = select(*(column.label(f"cost_{column.name}") for column in _COST))
        query = costs.add_columns(*statements.columns().selected_columns).outerjoin(
            SUBMISSIONS, _same_entry
        )
        query = query.where(
            _c.service == self.service,
            _c.state != CostState.REPLACED.value,
            or_(_s.run.is_(None), is_old),
            tuple_(_c.run, _c.number) > tuple_(after.run, after.number),
        )
        query = query.order_by(_c.run, _c.number).limit(_PAGE)
        changes: list[tuple[CostRow, TaskCost | None]] = []
        for found in self._connection.execute(query).mappings():
            columns = {str(name): value for name, value in found.items()}
            row = self._read({name: columns.pop(f"cost_{name}") for name in map(_name, _COST)})
            cost = None
            if columns["run"] is not None:
                entry = read(columns)
                if entry.stage is not Stage.REFUSED:
                    cost = self._cost_of(entry, row.cost)
            changes.append((row, cost))
        self._replace(changes)
        return changes[-1][0].entry if changes else None

    def sum_up(self) -> None:
        """Add up all costs once more."""
        silent = func.sum(case((_c.state == CostState.SILENT.value, 1), else_=0))
        whole = {
            "tasks": func.count(),
            "tokens": func.sum(_c.tokens),
            "priced": func.count(_c.credits),
            "answers": func.count(_c.answer_tokens),
            "answer_tokens": func.coalesce(func.sum(_c.answer_tokens), 0),
            "silent": silent,
        }
        columns = [sql_cast(value, BigInteger).label(name) for name, value in whole.items()]
        credits_ = func.coalesce(func.sum(_c.credits), 0.0).label("credits")
        query = select(_c.model, credits_, *columns).where(_c.service == self.service)
        rows = self._connection.execute(query.group_by(_c.model)).all()
        self._connection.execute(delete(SPENT).where(SPENT.c.service == self.service))
        self.spent = Spent({row.model: self._sums_of(row) for row in rows})
        self._stored, self._changed = set(), {*self.spent.models}

    def _cost_of(self, entry: Entry, before: TaskCost) -> TaskCost:
        if entry.stage not in FINISHED:
            expected = before.tokens or self.spent.answer_tokens(entry.model) or 0
            return TaskCost(tokens=expected).accepted(entry.read_usage().credits)
        is_completed = entry.stage is Stage.COMPLETED
        return ended_cost(before, entry.read_usage(), is_completed=is_completed)

    def _first_runs(self, model: str) -> list[str]:
        query = select(_c.run).where(IS_FIRST, _c.service == self.service, _c.model == model)
        return list(self._connection.scalars(query.distinct()))

    def _find(self, entries: Collection[EntryId]) -> dict[EntryId, list[CostRow]]:
        found: dict[EntryId, list[CostRow]] = {}
        for some in _chunks(sorted(entries)):
            ids = [(entry.run, entry.number) for entry in some]
            query = select(*_COST).where(tuple_(_c.run, _c.number).in_(ids))
            for row in self._connection.execute(query).mappings():
                read = self._read(row)
                found[read.entry] = [read]
        return found

    def _find_tasks(self, tasks: Collection[str]) -> dict[str, list[CostRow]]:
        found: dict[str, list[CostRow]] = {task: [] for task in tasks}
        for some in _chunks(sorted(tasks)):
            query = select(*_COST, _s.task_id).join(SUBMISSIONS, _same_entry)
            query = query.where(_s.service == self.service, _s.task_id.in_(some))
            for row in self._connection.execute(query).mappings():
                found[row["task_id"]].append(self._read(row))
        return found

    def _replace(self, changes: Sequence[tuple[CostRow, TaskCost | None]]) -> None:
        changes = [(row, cost) for row, cost in changes if row.cost != cost]
        for row, cost in changes:
            self.spent.change(row.model, row.cost, cost)
            self._changed.add(row.model)
        gone = [at(row.entry) for row, cost in changes if cost is None]
        if gone:
            self._connection.execute(_DELETE, gone)
        new = [
            {
                **at(row.entry),
                "new_tokens": cost.tokens,
                "new_credits": cost.credits,
                "new_answer_tokens": cost.answer_tokens,
                "new_state": cost.state.value,
            }
            for row, cost in changes
            if cost is not None
        ]
        if new:
            self._connection.execute(_UPDATE, new)

    def _row(self, row: CostRow) -> Values:
        return {
            "run": row.entry.run,
            "number": row.entry.number,
            "service": self.service,
            "model": row.model,
            "state": row.cost.state.value,
            "tokens": row.cost.tokens,
            "credits": row.cost.credits,
            "answer_tokens": row.cost.answer_tokens,
        }

    def _values(self, model: str) -> Values:
        return msgspec.structs.asdict(self.spent.models[model])

    def _read(self, row: Mapping[Any, Any]) -> CostRow:
        try:
            cost = msgspec.convert({name: row[name] for name in _COST_MEMBERS}, TaskCost)
            return CostRow(EntryId(row["run"], row["number"]), row["model"], cost)
        except msgspec.ValidationError:
            raise self._is_damaged() from None

    def _sums_of(self, row: Row[Any]) -> ModelSpent:
        try:
            return msgspec.convert({name: getattr(row, name) for name in _SUMS}, ModelSpent)
        except msgspec.ValidationError:
            raise self._is_damaged() from None

    def _is_damaged(self) -> JournalError:
        return JournalError(
            f"the journal {self._name}: its table of costs is damaged: nothing is submitted with a "
            "budget. Empty the tables foxapi_costs and foxapi_spent: they are made again"
        )


_COST_MEMBERS: Final = TaskCost.__struct_fields__


def _name(column: Any) -> str:
    return str(column.name)


def _chunks(values: Sequence[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while some := list(islice(rest, _AT_ONCE)):
        yield some
