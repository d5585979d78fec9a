"""The SQL of rates that the processes of a journal share: ``RateState`` as a row, by one clock."""

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    bindparam,
    case,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from foxapi_async._journal.schema import RATES
from foxapi_async._protocol.rate_limiter import MAX_PAUSE
from foxapi_async._protocol.submit_rate import BURST, Lease, RateCost

_c: Final = RATES.c
_DAY: Final = 86_400.0


class _Now(FunctionElement[float]):
    """The Unix time of the database, at the start of the statement.

    It is the same everywhere in a statement. The time in which the statement waits for another one
    is added to the wait for the lease, so it makes none of them too early.
    """

    inherit_cache = True
    type = Float(53)


@compiles(_Now)
def _sqlite_now(_element: _Now, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Now, "postgresql")
def _postgres_now(_element: _Now, _compiler: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS DOUBLE PRECISION)"


class _Greatest(FunctionElement[float]):
    """The greatest of several numbers."""

    inherit_cache = True
    type = Float(53)


@compiles(_Greatest)
def _sqlite_greatest(element: _Greatest, compiler: Any, **options: Any) -> str:
    return f"max({compiler.process(element.clauses, **options)})"


@compiles(_Greatest, "postgresql")
def _postgres_greatest(element: _Greatest, compiler: Any, **options: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **options)})"


def _number(name: str) -> Any:
    return bindparam(name, type_=Float(53))


def _not_beyond(column: Any, seconds: float) -> ColumnElement[float]:
    """Return a time, or the present one in place of what no process of ours writes.

    Damage, or a clock that was set back, must not hold back submissions for ever.
    """
    now: ColumnElement[float] = _Now()
    return case((column < now + seconds, column), else_=now)


_NOW: Final = _Now()
_SUBMITS_DUE: Final = _not_beyond(_c.submits_due, _DAY)
_TOKENS_DUE: Final = _not_beyond(_c.tokens_due, _DAY) + _number("correction")
_PAUSED_UNTIL: Final = _not_beyond(_c.paused_until, MAX_PAUSE + 1)
_AT: Final = _Greatest(_SUBMITS_DUE, _TOKENS_DUE, _PAUSED_UNTIL, _NOW)
_here: Final = _c.name == bindparam("of_name")

_RESERVE: Final = (
    update(RATES)
    .where(_here)
    .values(
        submits_before=_SUBMITS_DUE,
        tokens_before=_TOKENS_DUE,
        submits_due=_Greatest(_SUBMITS_DUE, _AT - literal(BURST)) + _number("submits"),
        tokens_due=_Greatest(_TOKENS_DUE, _AT - literal(BURST)) + _number("tokens"),
        granted_at=_AT,
    )
    .returning(_c.granted_at - _NOW, _c.submits_due, _c.tokens_due)
)
_CANCEL: Final = (
    update(RATES)
    .where(_here, _c.submits_due == _number("at_submits"), _c.tokens_due == _number("at_tokens"))
    .values(submits_due=_c.submits_before, tokens_due=_c.tokens_before)
)
_PAUSE: Final = (
    update(RATES)
    .where(_here)
    .values(paused_until=_Greatest(_PAUSED_UNTIL, _NOW + _number("seconds")))
)
_PAUSED: Final = select(_PAUSED_UNTIL - _NOW).where(_here)
# SQLite has the same words.
_ADD: Final = (
    postgresql.insert(RATES)
    .values(
        name=bindparam("of_name"),
        **{column.name: 0.0 for column in _c if column.name != "name"},
    )
    .on_conflict_do_nothing()
)


def reserve(connection: Connection, name: str, cost: RateCost) -> Lease:
    """Reserve by one statement, which makes the row before the first time."""
    values = {"of_name": name, **cost._asdict()}
    row = connection.execute(_RESERVE, values).one_or_none()
    if row is None:
        connection.execute(_ADD, {"of_name": name})
        row = connection.execute(_RESERVE, values).one()
    return Lease(*row)


def cancel(connection: Connection, name: str, lease: Lease) -> bool:
    """Undo a reservation, unless there was a later one; tell whether it is undone."""
    values = {
        "of_name": name,
        "at_submits": lease.submits_due,
        "at_tokens": lease.tokens_due,
    }
    return connection.execute(_CANCEL, values).rowcount > 0


def pause(connection: Connection, name: str, seconds: float) -> None:
    """Grant nothing more for ``seconds``, a minute at most."""
    values = {"of_name": name, "seconds": min(seconds, MAX_PAUSE)}
    if not connection.execute(_PAUSE, values).rowcount:
        connection.execute(_ADD, {"of_name": name})
        connection.execute(_PAUSE, values)


def paused(connection: Connection, name: str) -> float:
    """Return the seconds until the end of the pause; 0 without one."""
    found: float | None = connection.execute(_PAUSED, {"of_name": name}).scalar()
    return max(found or 0.0, 0.0)
