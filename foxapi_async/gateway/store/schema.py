"""The tables of a data file, and the statements that read and write them."""

from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
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
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.types import NullType

# The mark of this program in the header of the file: "FoxA".
APPLICATION: Final = 0x466F7841
VERSION: Final = 4

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
    # What answers the task (`ModelKind`, or `MEDIA`); null in the tasks of earlier versions.
    Column("kind", Text),
    # Unix seconds; null while the task runs.
    Column("ended", Float),
    # The event that ends the stream; null while the task runs, without a stream, or once expired.
    Column("closing", LargeBinary),
)
Index("task_ended", _task.c.ended)
# Only the tasks that still have their chunks.
Index("task_replayed", _task.c.ended, sqlite_where=_task.c.closing.is_not(None))

# The chunks of running tasks, in the order in which they were written; one commit makes one row of
# them (see `packing`). A table of chunks by task would change a page of each task in each commit.
# Chunks of ended tasks stay until the rows are compacted.
BATCH: Final = Table(
    "batch",
    METADATA,
    Column("position", Integer, primary_key=True),
    # A MessagePack array of arrays: key of the task, number, progress, frame.
    Column("chunks", LargeBinary, nullable=False),
)
# The chunks of ended tasks, some in each row.
LOG: Final = Table(
    "log",
    METADATA,
    Column("task", Integer, primary_key=True, autoincrement=False),
    # The number of the first chunk in the row, and how many the row has.
    Column("first", Integer, primary_key=True, autoincrement=False),
    Column("chunks", Integer, nullable=False),
    # A MessagePack array of the chunks.
    Column("frames", LargeBinary, nullable=False),
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
ADD_BATCH: Final = insert(BATCH)
FIND_TASK: Final = select(
    *_stored(_task.c.key, _task.c.owner, _task.c.answer, _task.c.ended, _task.c.closing)
).where(_task.c.id == bindparam("id"))
# The row with a chunk, unless the log ends before it.
PAGE: Final = (
    select(*_stored(LOG.c.first, LOG.c.chunks, LOG.c.frames))
    .where(LOG.c.task == bindparam("task"), LOG.c.first <= bindparam("number"))
    .order_by(LOG.c.first.desc())
    .limit(1)
)
NEWEST: Final = (
    select(*_stored(_task.c.key, _task.c.answer))
    .where(
        _task.c.key > bindparam("before_first"),
        _task.c.owner == bindparam("owner"),
        or_(_task.c.ended.is_(None), _task.c.ended > bindparam("expired", type_=Float())),
    )
    .order_by(_task.c.key.desc())
    .limit(bindparam("limit"))
)
UNFINISHED: Final = (
    select(
        *_stored(
            _task.c.key, _task.c.id, _task.c.owner, _task.c.answer, _task.c.request, _task.c.kind
        )
    )
    .where(_task.c.ended.is_(None))
    .order_by(_task.c.key)
)
RUNNING: Final = select(_task.c.key).where(_task.c.ended.is_(None))
BATCHES: Final = (
    # Null for what is damaged: one text that cannot be decoded would end the whole scan.
    select(
        BATCH.c.position,
        type_coerce(case((func.typeof(BATCH.c.chunks) == "blob", BATCH.c.chunks)), NullType()),
    )
    .where(BATCH.c.position >= bindparam("first"), BATCH.c.position <= bindparam("last"))
    .order_by(BATCH.c.position)
)
LAST_BATCH: Final = select(func.max(BATCH.c.position))
UPDATE_BATCH: Final = (
    update(BATCH)
    .where(BATCH.c.position == bindparam("of_position"))
    .values(chunks=bindparam("new_chunks"))
)
DELETE_BATCH: Final = delete(BATCH).where(BATCH.c.position == bindparam("of_position"))
# Rows of a task that was deleted by hand may be in the way.
ADD_LOG: Final = insert(LOG).prefix_with("OR REPLACE")
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
DELETE_LOG: Final = delete(LOG).where(LOG.c.task == bindparam("of_task"))
DELETE_CLOSING: Final = (
    update(_task).where(_task.c.key == bindparam("of_task")).values(closing=null())
)
DELETE_TASK: Final = delete(_task).where(_task.c.key == bindparam("of_task"))
ADD_SPENT: Final = insert(_spent)
INCREASE_SPENT: Final = (
    update(_spent)
    .where(_spent.c.owner == bindparam("of_owner"))
    .values(credits=_spent.c.credits + bindparam("more", type_=Float()))
)
