"""The tables of a data file, and the statements that read and write them."""

from typing import Any, Final

from sqlalchemy import (
    Column,
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
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

# Says in the file's header whose it is: "FoxA".
APPLICATION: Final = 0x466F7841
VERSION: Final = 1

_dialect: Any = sqlite.dialect(paramstyle="named")


def _sql(statement: Any) -> str:
    return str(statement.compile(dialect=_dialect))


_metadata = MetaData()

_task = Table(
    "task",
    _metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    # The newest snapshot as JSON. While chunks come, the newest of them has the progress.
    Column("answer", LargeBinary, nullable=False),
    # What to go on with after a restart; null once the task has ended.
    Column("request", LargeBinary),
    # Unix seconds; null while the task runs.
    Column("ended", Float),
    # The event that ends the stream; null while there is none, if there never is, or no longer.
    Column("closing", LargeBinary),
)
_ended = Index("task_ended", _task.c.ended)
# The tasks that have their chunks still: they are found without a look at those that lost them.
_replayed = Index("task_replayed", _task.c.ended, sqlite_where=_task.c.closing.is_not(None))

_chunk = Table(
    "chunk",
    _metadata,
    Column("task", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("progress", Integer, nullable=False),
    Column("frame", LargeBinary, nullable=False),
    # The chunks of a task lie side by side, in their order.
    sqlite_with_rowid=False,
)

# What is forgotten with the tasks and counts nevertheless.
_spent = Table(
    "spent",
    _metadata,
    Column("owner", Text, primary_key=True),
    Column("tasks", Integer, nullable=False),
    sqlite_with_rowid=False,
)
_run = Table("run", _metadata, Column("number", Integer, primary_key=True))

CREATE: Final = tuple(
    _sql(item)
    for item in (
        *(CreateTable(table) for table in _metadata.sorted_tables),
        CreateIndex(_ended),
        CreateIndex(_replayed),
    )
)

BEGIN_RUN: Final = _sql(insert(_run))
RUN: Final = _sql(select(func.max(_run.c.number)))
LAST_KEY: Final = _sql(select(func.max(_task.c.key)))

_has_ended = bindparam("ended", type_=Float).is_not(None)
ADD_TASK: Final = _sql(
    insert(_task)
    .values(
        {
            name: bindparam(name, type_=_task.c[name].type)
            for name in ("key", "id", "owner", "answer", "request")
        }
    )
    # A taken id is found by the count of rows: an error would undo the whole transaction.
    .prefix_with("OR IGNORE")
)
_ADD_CHUNK: Final = str(insert(_chunk).compile(dialect=sqlite.dialect(paramstyle="qmark")))
UPDATE_TASK: Final = _sql(
    update(_task)
    .where(_task.c.key == bindparam("of"))
    .values(
        answer=bindparam("answer"),
        ended=bindparam("ended"),
        closing=bindparam("closing"),
        request=case((_has_ended, null()), else_=_task.c.request),
    )
)
# SQLite's own limit is 32766 values in a statement.
MOST_CHUNKS: Final = 512


def add_chunks(rows: int) -> str:
    """Return what inserts so many chunks: task, number, progress and frame of each, in a row.

    One statement instead of many, because the thread that runs it lets go of the interpreter for
    each, and must wait for the event loop to have it again.
    """
    head, _, row = _ADD_CHUNK.partition(" VALUES ")
    return f"{head} VALUES {', '.join([row] * rows)}"


HAS_KEY: Final = _sql(select(_task.c.key).where(_task.c.key == bindparam("key")))

FIND_TASK: Final = _sql(
    select(_task.c.key, _task.c.owner, _task.c.answer, _task.c.ended, _task.c.closing).where(
        _task.c.id == bindparam("id")
    )
)
PAGE: Final = _sql(
    select(_chunk.c.frame)
    .where(
        _chunk.c.task == bindparam("task"),
        _chunk.c.number >= bindparam("first"),
        _chunk.c.number < bindparam("end"),
    )
    .order_by(_chunk.c.number)
)
UNFINISHED: Final = _sql(
    select(_task.c.key, _task.c.id, _task.c.owner, _task.c.answer, _task.c.request)
    .where(_task.c.ended.is_(None))
    .order_by(_task.c.key)
)
CHUNKS_OF: Final = _sql(
    select(_chunk.c.progress, _chunk.c.frame)
    .where(_chunk.c.task == bindparam("task"))
    .order_by(_chunk.c.number)
)
SPENT: Final = _sql(
    select(_task.c.owner, func.count())
    .group_by(_task.c.owner)
    .union_all(select(_spent.c.owner, _spent.c.tasks))
)

_before = bindparam("before", type_=Float)
EXPIRED_LOGS: Final = _sql(
    select(_task.c.key).where(_task.c.closing.is_not(None), _task.c.ended <= _before)
)
EXPIRED_TASKS: Final = _sql(select(_task.c.key, _task.c.owner).where(_task.c.ended <= _before))
FORGET_CHUNKS: Final = _sql(delete(_chunk).where(_chunk.c.task == bindparam("task")))
FORGET_LOG: Final = _sql(
    update(_task).where(_task.c.key == bindparam("task")).values(closing=null())
)
FORGET_TASK: Final = _sql(delete(_task).where(_task.c.key == bindparam("task")))
KEEP_SPENT: Final = _sql(
    sqlite.insert(_spent)
    .values(owner=bindparam("owner"), tasks=bindparam("tasks"))
    .on_conflict_do_update(
        index_elements=[_spent.c.owner], set_={"tasks": _spent.c.tasks + bindparam("more")}
    )
)
