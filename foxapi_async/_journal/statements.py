"""What is asked of the tables. Everything here runs in a transaction of the caller's."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Connection,
    Float,
    LargeBinary,
    Row,
    Select,
    String,
    Update,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.types import NullType

from foxapi_async._journal.records import FAILED, Entry, EntryId, FinalRecord, Intent, Stage
from foxapi_async._journal.row import read
from foxapi_async._journal.schema import SUBMISSIONS
from foxapi_async._journal.seal import CONTENTS, RESEAL, sealed
from foxapi_async._wire.base import encode
from foxapi_async._wire.completion import ChatCompletion, encode_completion
from foxapi_async._wire.task import Task
from foxapi_async.errors import JournalError

Name = tuple[str, str]
"""A service and a key: what no two entries share."""

# Databases limit how many values one statement takes.
_AT_ONCE: Final = 500
# And an answer may be large: so many rows are in memory at a time.
_PAGE: Final = 100

_MEMBERS: Final = tuple(name for name in Entry.__struct_fields__ if name != "note")
_STAGES: Final = tuple(stage for stage in Stage if stage is not Stage.UNREADABLE)

_c: Final = SUBMISSIONS.c
COLUMNS: Final = tuple(column.name for column in _c)
_LEAN: Final = tuple(name for name in COLUMNS if name not in CONTENTS)
_here = (_c.run == bindparam("at_run"), _c.number == bindparam("at_number"))


def _set(**changes: Any) -> dict[str, Any]:
    """Return what an update sets, its checksums included: they follow from what they were.

    So a row that is damaged elsewhere cannot become whole by being written to.
    """
    values = dict(changes)
    for seal, names in ((_c.seal, {*_LEAN}), (_c.content_seal, {*CONTENTS})):
        parts: list[Any] = []
        for name, new in changes.items():
            if name in names:
                # What is damaged may be no text, which SQLite could not hand over as one.
                plain = Float(53) if isinstance(_c[name].type, Boolean | Float) else LargeBinary()
                parts += (literal(name), cast(_c[name], plain), new)
        if parts:
            values[seal.name] = getattr(func, RESEAL)(seal, *parts)
    return values


def _columns(*, lean: bool = False) -> Select[Any]:
    """Select the columns as the file has them: what is damaged may be of another type."""
    names = _LEAN if lean else COLUMNS
    columns: list[Any] = [type_coerce(_c[name], NullType()).label(name) for name in names]
    return select().add_columns(*columns)


_ACCEPTED, _REFUSED, _UNKNOWN, _LOST = (
    literal(stage.value) for stage in (Stage.ACCEPTED, Stage.REFUSED, Stage.UNKNOWN, Stage.LOST)
)
INSERT: Final = insert(SUBMISSIONS).values({name: bindparam(name) for name in COLUMNS})
FIND: Final = _columns().where(
    _c.service == bindparam("its_service"), _c.key == bindparam("its_key")
)
_WITHDRAW: Final = delete(SUBMISSIONS).where(*_here)
_FREE: Final = delete(SUBMISSIONS).where(*_here, _c.stage == Stage.REFUSED)
_UNSETTLED: Final = frozenset({Stage.SENT, Stage.UNKNOWN})
_SETTLE: Final = delete(SUBMISSIONS).where(*_here, _c.stage.in_(_UNSETTLED))
_UNNAME: Final = (
    update(SUBMISSIONS)
    .where(*_here, _c.stage.in_(FAILED))
    # What failed stays in the list; its key is that of the next attempt.
    .values(_set(key=null()))
)
MARK_ACCEPTED: Final = (
    update(SUBMISSIONS)
    .where(*_here)
    .values(
        _set(
            stage=_ACCEPTED,
            streamed=bindparam("was_streamed", type_=Boolean()),
            task_id=bindparam("its_task_id"),
            task=bindparam("its_task"),
            body=null(),
            fault=null(),
        )
    )
)
MARK_REFUSED: Final = (
    update(SUBMISSIONS)
    .where(*_here)
    .values(_set(stage=_REFUSED, fault=bindparam("its_fault"), body=null()))
)
MARK_UNKNOWN: Final = (
    update(SUBMISSIONS)
    .where(*_here)
    .values(
        _set(
            stage=_UNKNOWN,
            fault=bindparam("its_fault"),
            task_id=bindparam("its_task_id", type_=String()),
        )
    )
)
MARK_LOST: Final = (
    update(SUBMISSIONS)
    .where(
        _c.service == bindparam("its_service"),
        _c.task_id == bindparam("its_task_id"),
        # Another process may have seen its end meanwhile.
        _c.stage == Stage.ACCEPTED,
    )
    .values(_set(stage=_LOST, fault=bindparam("its_fault")))
)
STORE_STREAMED: Final = (
    update(SUBMISSIONS)
    .where(
        _c.service == bindparam("its_service"),
        _c.task_id == bindparam("its_task_id"),
        # A result that was written down has it already.
        or_(_c.stage == Stage.ACCEPTED, _c.stage == Stage.LOST),
    )
    .values(
        _set(
            answer=bindparam("its_answer"),
            answer_wins=bindparam("answers_first", type_=Boolean()),
        )
    )
)
MARK_FINISHED: Final = (
    update(SUBMISSIONS)
    .where(_c.service == bindparam("its_service"), _c.task_id == bindparam("its_task_id"))
    .values(
        _set(
            stage=bindparam("its_stage"),
            fault=null(),
            ended_at=bindparam("its_end"),
            task=bindparam("its_task"),
            answer=bindparam("its_answer"),
            answer_wins=bindparam("answers_first", type_=Boolean()),
        )
    )
)

CHANGES: Final = (
    MARK_ACCEPTED,
    MARK_REFUSED,
    MARK_UNKNOWN,
    MARK_LOST,
    STORE_STREAMED,
    MARK_FINISHED,
)
"""The kinds of change, in the order in which they happen to an entry."""

Statement = Update
Values = dict[str, Any]


def acceptance(note: EntryId, task: Task) -> Values:
    """Return the values of ``MARK_ACCEPTED``."""
    return {
        **_at(note),
        "was_streamed": task.stream is not None,
        "its_task_id": task.id,
        "its_task": encode(task),
    }


def fault_of(note: EntryId, fault: str) -> Values:
    """Return the values of ``MARK_REFUSED``, which forgets the request."""
    return {**_at(note), "its_fault": fault}


def doubt_of(note: EntryId, fault: str, task_id: str | None) -> Values:
    """Return the values of ``MARK_UNKNOWN``; ``task_id`` is the id that was seen all the same."""
    return {**fault_of(note, fault), "its_task_id": task_id}


def loss_of(service: str, task_id: str, fault: str) -> Values:
    """Return the values of ``MARK_LOST``; a task that was submitted elsewhere matches nothing."""
    return {"its_service": service, "its_task_id": task_id, "its_fault": fault}


def answer_of(service: str, task_id: str, answer: ChatCompletion, *, wins: bool) -> Values:
    """Return the values of ``STORE_STREAMED``; they match no row of a task submitted elsewhere."""
    return {
        "its_service": service,
        "its_task_id": task_id,
        "its_answer": encode_completion(answer),
        "answers_first": wins,
    }


def end_of(ending: FinalRecord, now: float) -> Values:
    """Return the values of ``MARK_FINISHED``; they match no row of a task submitted elsewhere."""
    return {
        "its_service": ending.service,
        "its_task_id": ending.task.id,
        "its_stage": ending.stage,
        "its_end": now,
        "its_task": encode(ending.task),
        "its_answer": encode_completion(ending.answer) if ending.answer is not None else None,
        "answers_first": ending.answer_wins,
    }


def intention(note: EntryId, intent: Intent) -> Values:
    """Return the values of ``INSERT``, which fails if the key is taken."""
    return _row(Entry.of(note, intent))


def apply(connection: Connection, changes: Iterable[tuple[Statement, Values]]) -> None:
    """Make changes of each kind, in the order of ``CHANGES``."""
    for statement, values in group_by_statement(changes):
        connection.execute(statement, values)


def group_by_statement(
    changes: Iterable[tuple[Statement, Values]],
) -> list[tuple[Statement, list[Values]]]:
    """Gather the values of each kind of change, in the order of ``CHANGES``."""
    kinds: dict[int, list[Values]] = {}
    for statement, values in changes:
        kinds.setdefault(CHANGES.index(statement), []).append(values)
    return [(CHANGES[kind], kinds[kind]) for kind in sorted(kinds)]


def claim(
    connection: Connection,
    intents: Iterable[tuple[EntryId, Intent]],
    mine: Collection[EntryId] = (),
) -> list[Entry | JournalError | None]:
    """Insert each intent whose key is free; return the entry that holds it for each other one.

    An intent that replaces an entry takes its place, or is answered with an error if the entry is
    gone. What is ``mine`` had done so already. ``IntegrityError`` if another process took one of
    the keys meanwhile: begin again.
    """
    intents = list(intents)
    held = find(connection, (name for _, intent in intents if (name := _name(intent))))
    answers: list[Entry | JournalError | None] = []
    for note, intent in intents:
        name = _name(intent)
        holder = held.get(name) if name else None
        if holder is not None and not _is_free(holder, intent):
            answers.append(holder)
            continue
        if holder is not None:
            for statement in (_FREE, _SETTLE, _UNNAME):
                connection.execute(statement, _at(holder.note))
        elif name is None and note not in mine and not _settles(connection, intent.replaces):
            gone = f"entry {intent.replaces} was settled by somebody else: nothing was sent"
            answers.append(JournalError(gone))
            continue
        entry = Entry.of(note, intent)
        if name:
            held[name] = entry
        connection.execute(INSERT, _row(entry))
        answers.append(None)
    return answers


def _is_free(holder: Entry, intent: Intent) -> bool:
    """Tell whether a key may be sent under again: it was refused, or is given up by ``intent``."""
    if holder.stage is Stage.REFUSED:
        return True
    return holder.note == intent.replaces and holder.stage in FAILED | _UNSETTLED


def _settles(connection: Connection, replaced: EntryId | None) -> bool:
    """Delete the entry of unknown outcome that is sent again; tell whether it was there."""
    return replaced is None or connection.execute(_SETTLE, _at(replaced)).rowcount > 0


def withdraw(connection: Connection, notes: Iterable[EntryId]) -> set[EntryId]:
    """Delete what is about to be inserted under these notes; return those that were there."""
    return {note for note in notes if connection.execute(_WITHDRAW, _at(note)).rowcount}


def find(connection: Connection, names: Iterable[Name]) -> dict[Name, Entry]:
    """Return the entries that hold these keys."""
    keys: dict[str, set[str]] = {}
    for service, key in names:
        keys.setdefault(service, set()).add(key)
    found: dict[Name, Entry] = {}
    for service, wanted in keys.items():
        for some in _chunks(wanted):
            query = _columns().where(_c.service == service, _c.key.in_(some))
            for row in connection.execute(query):
                found[service, row.key] = _entry(row)
    return found


def sent_by(connection: Connection) -> set[str]:
    """Return the runs that left submissions of which no more is known than that they were sent."""
    return set(connection.scalars(select(_c.run).where(_c.stage == Stage.SENT).distinct()))


def entries(
    connection: Connection,
    service: str | None = None,
    stages: Collection[Stage] | None = None,
    *,
    lean: bool = False,
) -> list[Entry]:
    """Return entries in the order they were sent; ``lean`` leaves requests and results out."""
    query = _wanted(service, stages, lean=lean).order_by(_c.sent_at, _c.run, _c.number)
    return [_entry(row) for row in connection.execute(query)]


def runs(connection: Connection) -> list[str]:
    """Return the runs that have entries, in the order in which they began to send."""
    began = func.min(_c.sent_at)
    return list(connection.scalars(select(_c.run).group_by(_c.run).order_by(began, _c.run)))


def page(
    connection: Connection,
    after: EntryId,
    service: str | None = None,
    stages: Collection[Stage] | None = None,
    *,
    lean: bool = False,
) -> list[Entry]:
    """Return the next entries of the run of ``after``; none after the last one."""
    query = _wanted(service, stages, lean=lean)
    query = query.where(_c.run == after.run, _c.number > after.number)
    return [_entry(row) for row in connection.execute(query.order_by(_c.number).limit(_PAGE))]


def named(connection: Connection, name: str, note: EntryId | None) -> list[Entry]:
    """Return the entries that have ``name`` as key or task id, or that ``note`` names."""
    names = [_c.key == name, _c.task_id == name]
    if note is not None:
        names.append((_c.run == note.run) & (_c.number == note.number))
    query = _columns().where(or_(*names)).order_by(_c.sent_at, _c.run, _c.number)
    return [_entry(row) for row in connection.execute(query)]


def _wanted(service: str | None, stages: Collection[Stage] | None, *, lean: bool) -> Select[Any]:
    query = _columns(lean=lean)
    if service is not None:
        query = query.where(_c.service == service)
    if stages is not None:
        # What is at no stage that there is may be damaged, and have been at one of them.
        query = query.where(or_(_c.stage.in_(stages), _c.stage.not_in(_STAGES)))
    return query


def prune(connection: Connection, before: float, stages: Collection[Stage]) -> int:
    """Delete what is at one of ``stages`` and older than ``before``; return how many."""
    return connection.execute(
        delete(SUBMISSIONS).where(_c.stage.in_(stages), _c.sent_at < before)
    ).rowcount


def drop(connection: Connection, notes: Iterable[EntryId], living: Collection[str]) -> int:
    """Delete these entries but for what a living run has just sent; return how many."""
    dropped = 0
    for note in notes:
        query = delete(SUBMISSIONS).where(_c.run == note.run, _c.number == note.number)
        if note.run in living:
            query = query.where(_c.stage != Stage.SENT)
        dropped += connection.execute(query).rowcount
    return dropped


def _name(intent: Intent) -> Name | None:
    return (intent.service, intent.key) if intent.key is not None else None


def _at(note: EntryId) -> Values:
    return {"at_run": note.run, "at_number": note.number}


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def _row(entry: Entry) -> Values:
    row: Values = {name: getattr(entry, name) for name in _MEMBERS}
    return sealed(row | {"run": entry.note.run, "number": entry.note.number})


def _entry(row: Row[Any]) -> Entry:
    return read(dict(row._mapping))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] public
