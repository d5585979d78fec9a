"""The SQL statements of a journal."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    LargeBinary,
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
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from foxapi_async._journal.operations import Statement
from foxapi_async._journal.records import FAILED, Stage
from foxapi_async._journal.schema import IS_SENT, SUBMISSIONS
from foxapi_async._journal.seal import CONTENTS, RESEAL

_c: Final = SUBMISSIONS.c
COLUMNS: Final = tuple(column.name for column in _c)
_WITHOUT_CONTENTS: Final = tuple(name for name in COLUMNS if name not in CONTENTS)
_STAGES: Final = tuple(stage for stage in Stage if stage is not Stage.UNREADABLE)
UNSETTLED: Final = frozenset({Stage.SENT, Stage.UNKNOWN})
"""The stages of an entry that may be sent again in another entry's place."""

_here = (_c.run == bindparam("at_run"), _c.number == bindparam("at_number"))
_of_task = (_c.service == bindparam("of_service"), _c.task_id == bindparam("of_task_id"))


class _Reseal(FunctionElement[int]):
    """The checksum of a row after changes, where the database keeps none itself."""

    inherit_cache = True
    type = BigInteger()


@compiles(_Reseal)
def _with_checksum(element: _Reseal, compiler: Any, **options: Any) -> str:
    return f"{RESEAL}({compiler.process(element.clauses, **options)})"


@compiles(_Reseal, "postgresql")
def _without_checksum(element: _Reseal, compiler: Any, **options: Any) -> str:
    # The column stays as it is: the server's pages have checksums.
    return str(compiler.process(next(iter(element.clauses)), **options))


def _set(**changes: Any) -> dict[str, Any]:
    """Return what an update sets, with the checksums: the new ones follow from the old ones.

    So a row that is damaged elsewhere cannot become whole by being written to.
    """
    values = dict(changes)
    for seal, names in ((_c.seal, {*_WITHOUT_CONTENTS}), (_c.content_seal, {*CONTENTS})):
        parts: list[Any] = []
        for name, new in changes.items():
            if name in names:
                # What is damaged may be no text, which SQLite could not hand over as one.
                plain = Float(53) if isinstance(_c[name].type, Boolean | Float) else LargeBinary()
                parts += (literal(name), cast(_c[name], plain), new)
        if parts:
            values[seal.name] = _Reseal(seal, *parts)
    return values


def columns(*, omit_bodies: bool = False) -> Select[Any]:
    """Select the columns as the file has them: what is damaged may be of another type."""
    names = _WITHOUT_CONTENTS if omit_bodies else COLUMNS
    selected: list[Any] = [type_coerce(_c[name], NullType()).label(name) for name in names]
    return select().add_columns(*selected)


_ACCEPTED, _REFUSED, _UNKNOWN, _LOST = (
    literal(stage.value) for stage in (Stage.ACCEPTED, Stage.REFUSED, Stage.UNKNOWN, Stage.LOST)
)
INSERT: Final = insert(SUBMISSIONS).values({name: bindparam(name) for name in COLUMNS})
INSERT_FREE: Final = (
    postgresql.insert(SUBMISSIONS).on_conflict_do_nothing().returning(_c.run, _c.number)
)
"""Insert the rows whose key is free, and return their ids."""
FIND: Final = columns().where(_c.service == bindparam("of_service"), _c.key == bindparam("of_key"))
FIND_MANY: Final = columns().where(
    _c.service == bindparam("of_service"), _c.key.in_(bindparam("of_keys", expanding=True))
)
FIND_ID: Final = select(_c.run).where(*_here)
DELETE_REFUSED: Final = delete(SUBMISSIONS).where(*_here, _c.stage == Stage.REFUSED)
DELETE_UNSETTLED: Final = delete(SUBMISSIONS).where(*_here, _c.stage.in_(UNSETTLED))
FREE_KEY_OF_FAILED: Final = (
    update(SUBMISSIONS)
    .where(*_here, _c.stage.in_(FAILED))
    # What failed stays in the list; its key is that of the next attempt.
    .values(_set(key=null()))
)
CHANGES: Final[dict[Statement, Update]] = {
    Statement.MARK_ACCEPTED: update(SUBMISSIONS)
    .where(*_here)
    .values(
        _set(
            stage=_ACCEPTED,
            streamed=bindparam("new_streamed", type_=Boolean()),
            task_id=bindparam("new_task_id"),
            task=bindparam("new_task"),
            body=null(),
            fault=null(),
        )
    ),
    Statement.MARK_REFUSED: update(SUBMISSIONS)
    .where(*_here)
    .values(_set(stage=_REFUSED, fault=bindparam("new_fault"), body=null())),
    Statement.MARK_UNKNOWN: update(SUBMISSIONS)
    .where(*_here)
    .values(
        _set(
            stage=_UNKNOWN,
            fault=bindparam("new_fault"),
            task_id=bindparam("new_task_id", type_=String()),
        )
    ),
    Statement.MARK_LOST: update(SUBMISSIONS)
    # Another process may have seen its end meanwhile.
    .where(*_of_task, _c.stage == Stage.ACCEPTED)
    .values(_set(stage=_LOST, fault=bindparam("new_fault"))),
    Statement.STORE_STREAMED: update(SUBMISSIONS)
    # A result that is stored has it already.
    .where(*_of_task, or_(_c.stage == Stage.ACCEPTED, _c.stage == Stage.LOST))
    .values(
        _set(
            streamed_completion=bindparam("new_completion"),
            stream_was_cut=bindparam("new_cut", type_=Boolean()),
        )
    ),
    Statement.MARK_FINISHED: update(SUBMISSIONS)
    .where(*_of_task)
    .values(
        _set(
            stage=bindparam("new_stage"),
            fault=null(),
            ended_at=bindparam("new_end"),
            task=bindparam("new_task"),
            streamed_completion=bindparam("new_completion"),
            stream_was_cut=bindparam("new_cut", type_=Boolean()),
        )
    ),
}

RUNS_SENDING: Final = select(_c.run).where(IS_SENT).distinct()
RUNS: Final = select(_c.run).group_by(_c.run).order_by(func.min(_c.sent_at), _c.run)


def wanted(service: str | None, stages: Any, *, omit_bodies: bool) -> Select[Any]:
    """Select the entries of a service that are at one of ``stages``, or may have been."""
    query = columns(omit_bodies=omit_bodies)
    if service is not None:
        query = query.where(_c.service == service)
    if stages is not None:
        # What is at no stage that there is may be damaged, and have been at one of them.
        query = query.where(or_(_c.stage.in_(stages), _c.stage.not_in(_STAGES)))
    return query
