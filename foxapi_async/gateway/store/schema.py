"""The tables of a data file, and the statements that read and write them."""

from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    case,
    delete,
    func,
    insert,
    null,
    select,
    type_coerce,
    update,
)
from sqlalchemy.types import NullType

# The mark of this program in the header of the file: "FoxA".
APPLICATION: Final = 0x466F7841
VERSION: Final = 2

METADATA: Final = MetaData()

_task = Table(
    "task",
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    # The newest snapshot as JSON. While chunks are written, the last of them has the progress.
    Column("answer", LargeBinary, nullable=False),
    # What the task costs, now or in the end.
    Column("credits", Float, nullable=False),
    # What a restart resumes the task with; null once the task has ended.
    Column("request", LargeBinary),
    # Unix seconds; null while the task runs.
    Column("ended", Float),
    # The event that ends the stream; null while the task runs, without a stream, or once expired.
    Column("closing", LargeBinary),
)
Index("task_ended", _task.c.ended)
# Only the tasks that still have their chunks.
Index("task_replayed", _task.c.ended, sqlite_where=_task.c.closing.is_not(None))

_chunk = Table(
    "chunk",
    METADATA,
    Column("task", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("progress", Integer, nullable=False),
    Column("frame", LargeBinary, nullable=False),
    # The chunks of a task are stored side by side, in their order.
    sqlite_with_rowid=False,
)

# The credits of deleted tasks, which are charged to their owners all the same.
_spent = Table(
    "spent",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("credits", Float, nullable=False),
    sqlite_with_rowid=False,
)
_run = Table("run", METADATA, Column("number", Integer, primary_key=True))


def _stored(*columns: Column[Any]) -> list[ColumnElement[Any]]:
    """Select columns as the file has them: what is damaged may be of another type."""
    return [type_coerce(column, NullType()).label(column.name) for column in columns]


ADD_RUN: Final = insert(_run)
COUNT_RUNS: Final = select(func.max(_run.c.number))
LAST_KEY: Final = select(func.max(_task.c.key))

ADD_TASK: Final = insert(_task)
HAS_ID: Final = select(_task.c.key).where(_task.c.id == bindparam("id"))
UPDATE_TASK: Final = (
    update(_task)
    .where(_task.c.key == bindparam("of_key"))
    .values(
        answer=bindparam("new_answer"),
        ended=bindparam("new_ended", type_=Float()),
        closing=bindparam("new_closing"),
        credits=func.coalesce(bindparam("new_credits", type_=Float()), _task.c.credits),
        request=case(
            (bindparam("new_ended", type_=Float()).is_not(None), null()), else_=_task.c.request
        ),
    )
)
# SQLite's own limit is 32766 values in a statement.
MOST_CHUNKS: Final = 512


def add_chunks(rows: int, dialect: Dialect) -> str:
    """Return what inserts so many chunks: task, number, progress and frame of each, in a row.

    One statement instead of many, because SQLite's driver releases the interpreter for each, and
    then has to wait for the event loop to get it again.
    """
    head, _, row = str(insert(_chunk).compile(dialect=dialect)).partition(" VALUES ")
    return f"{head} VALUES {', '.join([row] * rows)}"


FIND_TASK: Final = select(
    *_stored(_task.c.key, _task.c.owner, _task.c.answer, _task.c.ended, _task.c.closing)
).where(_task.c.id == bindparam("id"))
PAGE: Final = (
    select(*_stored(_chunk.c.frame))
    .where(
        _chunk.c.task == bindparam("task"),
        _chunk.c.number >= bindparam("first"),
        _chunk.c.number < bindparam("end"),
    )
    .order_by(_chunk.c.number)
)
UNFINISHED: Final = (
    select(*_stored(_task.c.key, _task.c.id, _task.c.owner, _task.c.answer, _task.c.request))
    .where(_task.c.ended.is_(None))
    .order_by(_task.c.key)
)
CHUNKS_OF: Final = (
    select(*_stored(_chunk.c.progress, _chunk.c.frame))
    .where(_chunk.c.task == bindparam("task"))
    .order_by(_chunk.c.number)
)
SPENT: Final = (
    select(_task.c.owner, func.total(_task.c.credits))
    .group_by(_task.c.owner)
    .union_all(select(_spent.c.owner, _spent.c.credits))
)

_before = bindparam("before", type_=Float())
EXPIRED_LOGS: Final = select(_task.c.key).where(
    _task.c.closing.is_not(None), _task.c.ended <= _before
)
EXPIRED_TASKS: Final = select(_task.c.key, _task.c.owner, _task.c.credits).where(
    _task.c.ended <= _before
)
DELETE_CHUNKS: Final = delete(_chunk).where(_chunk.c.task == bindparam("of_task"))
DELETE_LOG: Final = update(_task).where(_task.c.key == bindparam("of_task")).values(closing=null())
DELETE_TASK: Final = delete(_task).where(_task.c.key == bindparam("of_task"))
ADD_SPENT: Final = insert(_spent)
INCREASE_SPENT: Final = (
    update(_spent)
    .where(_spent.c.owner == bindparam("of_owner"))
    .values(credits=_spent.c.credits + bindparam("more", type_=Float()))
)
